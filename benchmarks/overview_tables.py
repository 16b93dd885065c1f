"""The table of the project's own README: of each set, the figures that a user asks for first."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from ldseg.presets import PRESETS
from markdown_table import Record, distance, spread, table, unit_of
from tables import AS_THEY_ARE, by_model, by_set, seed_count

_COLUMNS = (
    "model",
    "trainings",
    "Dice [95 %]",
    "HD95 {unit} [95 %]",
    "ECE",
    "ECE, calibrated",
    "AURC of voxels, 1e-3",
    "Dice lost to bad images",
    "not harmonized",
    "predict, CPU s",
)
_BENCHMARKS = ("accuracy", "calibration", "robustness")
_RIVALS = {("ldseg", "default"), ("unet", "default")}


def overview(records: Sequence[Record]) -> str:
    """Return a table for each set and budget that has both ldseg's default preset and `unet`."""
    parts: list[str] = []
    for title, chosen in by_set([r for r in records if r["benchmark"] in _BENCHMARKS]):
        # Other presets are trials; they are in the tables of benchmarks/README.md.
        accuracy = [r for r in chosen if r["benchmark"] == "accuracy" and r["preset"] in PRESETS]
        if {(r["model"], r["preset"]) for r in accuracy} >= _RIVALS:
            lines = [_line(name, found, chosen) for name, found in by_model(accuracy)]
            unit = unit_of(dict.fromkeys(r["metric"] for r in accuracy), "mean_hd95")
            parts += [
                f"{title}, {accuracy[0]['split']}",
                table([column.format(unit=unit) for column in _COLUMNS], lines),
            ]
    return "\n\n".join(parts)


def _line(name: str, found: dict[str, Record], records: Sequence[Record]) -> tuple[str, ...]:
    dice = found["mean_dice"]
    mine = [r for r in records if (r["model"], r["preset"]) == (dice["model"], dice["preset"])]
    return (
        name,
        str(seed_count(dice)),
        spread(dice, 4),
        spread(distance(found, "mean_hd95"), 2),
        _mean(mine, "calibration", "ece", 4),
        _mean(mine, "calibration", "ece_recalibrated", 4),
        _mean(mine, "calibration", "aurc", 3, 1000.0),
        _mean(mine, "robustness", "dice_lost_mean", 3),
        _mean(mine, "robustness", f"dice_lost_mean{AS_THEY_ARE}", 3),
        f"{found['predict_cpu_s']['value']:.2f}",
    )


def _mean(records: Sequence[Record], benchmark: str, metric: str, digits: int, scale: float = 1.0) -> str:
    """Over the seeds that have the figure; a dash where none has."""
    values = [r["value"] for r in records if (r["benchmark"], r["metric"]) == (benchmark, metric)]
    return f"{scale * mean(values):.{digits}f}" if values else "-"
