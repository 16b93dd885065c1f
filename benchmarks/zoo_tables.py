"""The table of the shipped models."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_table import Record, distance, table, unit_of

_COLUMNS = {
    "Dice": ("mean_dice", 3),
    "Dice, mean of samples": ("mean_dice_of_samples", 3),
    "ECE": ("ece", 4),
    "volumes in 90 % intervals": ("interval_coverage", 2),
}


def zoo_tables(records: Sequence[Record]) -> str:
    """Return a table with one row per model, scored on its test cases."""
    rows: dict[str, dict[str, Record]] = {}
    for record in records:
        rows.setdefault(record["model"], {})[record["metric"]] = record
    lines = [
        (
            name,
            found["mean_dice"]["data"],
            str(found["mean_dice"]["cases"]),
            *(f"{found[metric]['value']:.{digits}f}" for metric, digits in _COLUMNS.values()),
            f"{distance(found, 'mean_hd95')['value']:.2f} {unit_of(found, 'mean_hd95')}",
            found["mean_dice"]["commit"],
        )
        for name, found in rows.items()
    ]
    return table(("model", "data", "test cases", *_COLUMNS, "HD95", "commit"), lines) if lines else ""
