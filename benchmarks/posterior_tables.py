"""Tables of `raters.py` and `cine.py`: samples against raters, films against their labelled frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markdown_table import Record, commit_of, number, table
from runs import name_of

_RATERS = {
    "training steps": ("training_steps", 0),
    "GED²": ("ged2", 3),
    "HM-IoU": ("hm_iou", 3),
    "Dice to the raters' majority": ("majority_dice", 3),
    "to STAPLE": ("staple_dice", 3),
    "diversity of samples": ("sample_diversity", 3),
    "of raters": ("rater_diversity", 3),
    "share of raters with the appendage": ("rater_frequency", 2),
    "of samples": ("sample_frequency", 3),
    "samples with a part of it": ("samples_with_a_part", 3),
}
_CINE = {
    "Dice": ("mean_dice", 3),
    "of the phase with the largest cavity": ("dice_largest_phase", 3),
    "with the smallest": ("dice_smallest_phase", 3),
    "HD95 mm": ("mean_hd95_mm", 2),
    "Dice of neighbouring frames": ("neighbour_dice", 3),
    "ejection fraction": ("ejection_fraction", 3),
    "on labelled frames": ("labelled_ejection_fraction", 3),
    "the reference's": ("reference_ejection_fraction", 3),
    "roughness of the area": ("roughness", 3),
}


def raters_tables(records: Sequence[Record]) -> str:
    """Return a table with one row per task."""
    return _rows("task", records, lambda record: record["data"], _RATERS)


def cine_tables(records: Sequence[Record]) -> str:
    """Return a table with one row per left-out patient and model."""
    return _rows(
        "slices, model", records, lambda r: f"{r['split']}, {name_of(r['model'], r['preset'])}", _CINE
    )


def _rows(
    first: str,
    records: Sequence[Record],
    name_of: Callable[[Record], str],
    columns: dict[str, tuple[str, int]],
) -> str:
    rows: dict[tuple[str, str], dict[str, Record]] = {}
    for record in records:
        key = name_of(record), f"{record['budget_minutes']:g}"
        rows.setdefault(key, {})[record["metric"]] = record
    lines = [
        (*key, *(number(found, *column) for column in columns.values()), commit_of(found))
        for key, found in rows.items()
    ]
    return table((first, "minutes", *columns, "commit"), lines) if lines else ""
