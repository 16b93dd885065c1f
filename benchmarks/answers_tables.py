"""Tables of `answers.py`: the same trained models, answering in several ways."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_table import Record, commit_of, number, spread, table, unit_of


def answers_table(records: Sequence[Record]) -> str:
    """Return a table with one row per way of predicting, in the order of the records."""
    rows: dict[str, dict[str, Record]] = {}
    for record in records:
        rows.setdefault(record["model"], {})[record["metric"]] = record
    unit = unit_of(next(iter(rows.values()), {}), "mean_hd95")
    metrics = {"mean_dice": 4, f"mean_hd95_{unit}": 2}
    columns = (
        "answer",
        "Dice [95 %]",
        "minus unet",
        f"HD95 {unit} [95 %]",
        "minus unet",
        "predict, CPU s",
        "commit",
    )
    lines = [
        (
            name,
            *(cell for metric, digits in metrics.items() for cell in _pair(found, metric, digits)),
            number(found, "predict_cpu_s", 2),
            commit_of(found),
        )
        for name, found in rows.items()
    ]
    return table(columns, lines)


def _pair(found: dict[str, Record], metric: str, digits: int) -> tuple[str, str]:
    """Return the mean and the paired difference, each with its interval."""
    difference = found.get(f"{metric}_difference")
    return spread(found[metric], digits), spread(difference, digits, "+") if difference else "-"
