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


_DISTRIBUTION = {
    "GED²": ("ged2", 3),
    "HM-IoU": ("hm_iou", 3),
    "Dice-match": ("dice_match", 3),
    "diversity": ("sample_diversity", 3),
    "of raters": ("rater_diversity", 3),
    "Brier": ("brier", 4),
    "soft ECE": ("soft_ece", 4),
    "volumes in 90 % intervals": ("covered", 3),
    "Dice with raters": ("rater_dice", 3),
    "by expected Dice": ("decided_rater_dice", 3),
}
_OF = "_of_"


def raters_tables(records: Sequence[Record]) -> str:
    """Return a table with one row per task, and one with a row per source of a distribution."""
    single = [record for record in records if _OF not in record["metric"]]
    parts = [
        _rows("task", single, lambda record: record["data"], _RATERS),
        _distributions([record for record in records if _OF in record["metric"]]),
    ]
    return "\n\n".join(part for part in parts if part)


def _distributions(records: Sequence[Record]) -> str:
    """Return the table of distributions: means over folds and seeds, weighted by their cases."""
    values: dict[tuple[str, str, str], dict[str, list[tuple[float, int]]]] = {}
    for record in records:
        metric, source = record["metric"].split(_OF, 1)
        key = record["data"], name_of(record["model"], record["preset"]), source.replace("_", " ")
        found = values.setdefault(key, {}).setdefault(metric, [])
        found.append((record["value"], record["cases"]))
    lines = [
        (
            *key,
            str(max(len(one) for one in found.values())),
            *(_weighted(found.get(metric, []), digits) for metric, digits in _DISTRIBUTION.values()),
        )
        for key, found in sorted(values.items())
    ]
    columns = ("set", "model", "distribution", "trainings", *_DISTRIBUTION)
    return table(columns, lines) if lines else ""


def _weighted(values: Sequence[tuple[float, int]], digits: int) -> str:
    cases = sum(number for _, number in values)
    return f"{sum(value * number for value, number in values) / cases:.{digits}f}" if values else "-"


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
