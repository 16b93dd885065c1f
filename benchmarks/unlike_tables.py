"""The table of `unlike.py`: what models say of images that are none of their kind."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_table import Record, table

COLUMNS = {
    "AUROC, worst other set": ("unlike_auroc", 4),
    "own images flagged": ("unlike_own_flagged", 3),
    "flagged of the worst other set": ("unlike_others_flagged", 3),
    "flagged of the worst change": ("unlike_changed_flagged", 3),
    "confidence, own": ("confidence_own", 3),
    "confidence, highest other set": ("confidence_others", 3),
}


def unlike_tables(records: Sequence[Record]) -> str:
    """Return a table with one row per model."""
    rows: dict[str, dict[str, Record]] = {}
    for record in records:
        rows.setdefault(record["model"], {})[record["metric"]] = record
    lines = [
        (
            name,
            found["unlike_auroc"]["data"],
            str(found["unlike_own_flagged"]["cases"]),
            *(f"{found[metric]['value']:.{digits}f}" for metric, digits in COLUMNS.values()),
            found["unlike_auroc"]["commit"],
        )
        for name, found in rows.items()
    ]
    return table(("model", "data", "own images", *COLUMNS, "commit"), lines) if lines else ""
