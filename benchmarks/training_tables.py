"""Tables of trainings that are more than one model from nothing: `fine_tune.py` and `ensembles.py`."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_table import Record, commit_of, number, spread, table

Rows = list[tuple[Record, dict[str, Record]]]
"""A figure of a training, and all of them by metric."""
_GAIN = "mean_dice_gain_over_nothing"
_OF_VOXELS = {"ECE": ("ece", 4), "ECE near structures": ("ece_near", 4), "AURC": ("aurc", 5)}
_OF_CASES = {
    "case AURC by confidence": ("case_aurc_by_confidence", 4),
    "by members": ("case_aurc_by_members", 4),
    "AUROC of failures by confidence": ("failure_auroc_by_confidence", 3),
    "by members ": ("failure_auroc_by_members", 3),
    "train, CPU min": ("train_cpu_minutes", 0),
    "predict, CPU s": ("predict_cpu_s", 2),
}


def fine_tune_tables(records: Sequence[Record]) -> str:
    """Return a table with one row per set, budget and beginning."""
    lines = [
        (
            f"{first['data']}, {first['budget_minutes']:g} minutes",
            _beginning(first),
            spread(found["mean_dice"], 4),
            spread(found[_GAIN], 4, "+") if _GAIN in found else "-",
            commit_of(found),
        )
        for first, found in _trainings(records)
    ]
    return table(("training", "begins", "Dice [95 %]", "gain [95 %]", "commit"), lines) if lines else ""


def _beginning(record: Record) -> str:
    """Return what a training began with: the name of a run says too little of the model of other cases."""
    began = record["model"].removeprefix("ldseg").strip() or "from nothing"
    return began.replace(f"fine_tune-{record['data']}-source-", "half of the other cases, ")


def ensembles_tables(records: Sequence[Record]) -> str:
    """Return a table with one row per set, budget and number of members."""
    figures = {**_OF_VOXELS, **_OF_CASES}
    lines = [
        (
            f"{first['data']}, {first['budget_minutes']:g} minutes a member",
            first["model"],
            spread(found["mean_dice"], 4),
            *(number(found, *column) for column in figures.values()),
            commit_of(found),
        )
        for first, found in _trainings(records)
    ]
    return table(("trainings", "model", "Dice [95 %]", *figures, "commit"), lines) if lines else ""


def _trainings(records: Sequence[Record]) -> Rows:
    """Return the figures of each training together, by set and budget."""
    rows: dict[tuple[str, float, int, str], dict[str, Record]] = {}
    for one in records:
        key = (one["data"], one["budget_minutes"], one["seed"], one["model"])
        rows.setdefault(key, {})[one["metric"]] = one
    return [(next(iter(found.values())), found) for _, found in sorted(rows.items())]
