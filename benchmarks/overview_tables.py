"""The table of the project's own README: of each set, the figures that a user asks for first."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from markdown_table import Record, spread, table
from tables import by_set, seed_count

_COLUMNS = (
    "set",
    "minutes",
    "trainings",
    "Dice, `ldseg`",
    "`unet`",
    "nnU-Net",
    "ECE, `ldseg`",
    "`unet`",
    "AURC 1e-3, `ldseg`",
    "`unet`",
)
_BENCHMARKS = ("accuracy", "calibration")
_MODELS = ("ldseg", "unet", "nnunet")


def overview(records: Sequence[Record]) -> str:
    """Return a table with one row per set, of the budget with the most trainings of both ldseg and `unet`."""
    rows: dict[str, tuple[int, float, tuple[str, ...]]] = {}
    default = [
        r for r in records if r["preset"] == "default" and r["benchmark"] in ("accuracy", "calibration")
    ]
    for _, chosen in by_set(default):
        dice = {model: _most_seeds(chosen, model) for model in _MODELS}
        ours, theirs = dice["ldseg"], dice["unet"]
        if ours is None or theirs is None:
            continue
        trainings, minutes = min(seed_count(ours), seed_count(theirs)), ours["budget_minutes"]
        known = rows.get(ours["data"])
        if known is None or (trainings, minutes) > known[:2]:
            rows[ours["data"]] = (trainings, minutes, _row(trainings, dice, chosen))
    return table(_COLUMNS, [row for _, _, row in rows.values()])


def _most_seeds(records: Sequence[Record], model: str) -> Record | None:
    """Return the mean Dice of a model over the most seeds."""
    found = [
        r for r in records if (r["benchmark"], r["metric"], r["model"]) == ("accuracy", "mean_dice", model)
    ]
    return max(found, key=seed_count, default=None)


def _row(trainings: int, dice: dict[str, Record | None], records: Sequence[Record]) -> tuple[str, ...]:
    ours = dice["ldseg"]
    assert ours is not None
    return (
        ours["data"],
        f"{ours['budget_minutes']:g}",
        str(trainings),
        *("-" if one is None else spread(one, 3) for one in dice.values()),
        *(_mean(records, model, "ece_calibrated", 4) for model in ("ldseg", "unet")),
        *(_mean(records, model, "aurc", 2, 1000.0) for model in ("ldseg", "unet")),
    )


def _mean(records: Sequence[Record], model: str, metric: str, digits: int, scale: float = 1.0) -> str:
    """Return the mean over the seeds that have the figure; a dash where none has."""
    values = [
        r["value"]
        for r in records
        if (r["benchmark"], r["model"], r["metric"]) == ("calibration", model, metric)
    ]
    return f"{scale * mean(values):.{digits}f}" if values else "-"
