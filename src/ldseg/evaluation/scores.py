"""Scores of a set of cases with their summary, and reading and writing `scores.json` and `scores.csv`.

`scores.json` is a promise to users and scripts (version 1):

    {"version": 1, "tolerance_mm": .., "classes": {CLASS: id},
     "cases": {NAME: {CLASS: {"dice", "volume_error", "volume_difference_mm3", "hd95_mm", "assd_mm", "nsd",
                              "surface_dice"}}},
     "mean": {CLASS: {..}}, "median": {CLASS: {..}}, "interval": {CLASS: {METRIC: [low, high] or null}},
     "mean_dice": .., "mean_dice_interval": [low, high] or null,
     "subjects": {NAME: SUBJECT}, "failed": {NAME: why},
     "part": "test" or another part of the training's split that was predicted, or null}

and for 2D+time (`metrics.cine`), where fractions and Dice may be null:

     "cycle": {NAME: {CLASS: {"area_mm2": [..], "reference_area_mm2": [.. or null], "neighbour_dice",
                              "reference_neighbour_dice", "ejection_fraction", "labelled_ejection_fraction",
                              "reference_ejection_fraction"}}},
     "subject_cycle": {SUBJECT: {..}}, of the subjects with several cases of equally many frames

Where the images have no physical spacing all that is in mm, mm2 or mm3 above is in voxels (3D) or pixels, and
its name ends in `_px`: "tolerance_px", "hd95_px", "assd_px", "volume_difference_px", "area_px". A file has
one unit: cases of both are never scored together.

The mean Dice is the mean over classes of the mean over cases. Intervals are 95 % intervals of the means
(Student's t), by subjects where they are known; null for a single subject. A record has "empty"
("prediction", "reference" or "both") where a mask has no voxel of the class. All numbers are finite.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ldseg.data.units import LengthUnit, OneUnit, area_unit, length_unit
from ldseg.errors import file_error
from ldseg.evaluation.case_metrics import ClassScores
from ldseg.metrics.cine import CineMetrics, have_equal_frame_counts, sum_slices
from ldseg.metrics.intervals import Interval, mean_interval
from ldseg.utils.serialization import (
    check_writable,
    read_versioned,
    write_bytes_atomic,
    write_json_atomic,
)

VERSION = 1
_SHARES = ("dice", "nsd", "surface_dice")
"""Metrics that are at most 1."""


@dataclass(frozen=True)
class Scores:
    """The scores of all cases of one set."""

    cases: dict[str, dict[str, ClassScores]]
    """Case to class to scores; every case has the same classes, and there is at least one case."""
    classes: dict[str, int]
    """Name to id, background included where it is declared."""
    tolerance: float
    """Tolerance of NSD and surface Dice, in `unit`."""
    subjects: dict[str, str] = field(default_factory=dict[str, str])
    """Case to subject; empty where nothing is known, then each case is its own."""
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """Cases without scores, and the reason; no mean includes them."""
    cine: dict[str, dict[str, CineMetrics]] = field(default_factory=dict[str, dict[str, CineMetrics]])
    """Case to class to cine metrics; empty unless the images are 2D+time."""
    part: str | None = None
    """The part of the training's split that the cases are of, e.g. "test"; None where that is unknown."""

    def __post_init__(self) -> None:
        units = OneUnit()
        for name, case in self.cases.items():
            units.add(name, _is_physical(case))

    @property
    def physical(self) -> bool:
        """Return whether lengths are in mm and not in voxels."""
        return _is_physical(next(iter(self.cases.values())))

    @property
    def unit(self) -> LengthUnit:
        """Return the unit of all lengths."""
        return length_unit(self.physical)

    def values(self, class_name: str, metric: str) -> list[float]:
        """Return the values of one metric of one class, in the order of `cases`."""
        return [scores[class_name].metrics[metric] for scores in self.cases.values()]

    def case_dice(self) -> list[float]:
        """Return the Dice of each case averaged over the classes, in the order of `cases`."""
        return [
            float(np.mean([scores.metrics["dice"] for scores in case.values()]))
            for case in self.cases.values()
        ]

    @property
    def mean_dice(self) -> float:
        """Return the mean Dice over classes and cases."""
        return float(np.mean(self.case_dice()))

    @property
    def mean_dice_interval(self) -> Interval | None:
        """Return the 95 % interval of the mean Dice, by subjects, or None for a single subject."""
        return mean_interval(self.case_dice(), self.groups, bounds=_bounds("dice"))

    def interval(self, class_name: str, metric: str) -> Interval | None:
        """Return the 95 % interval of the mean of one metric of one class, None for a single subject."""
        return mean_interval(self.values(class_name, metric), self.groups, bounds=_bounds(metric))

    @property
    def metrics(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the metrics of each class."""
        first = next(iter(self.cases.values()))
        return {name: tuple(scores.metrics) for name, scores in first.items()}

    def subject_cine(self) -> dict[str, dict[str, CineMetrics]]:
        """Return the summed cine metrics of subjects that have several cases of equally many frames."""
        slices: dict[str, list[dict[str, CineMetrics]]] = {}
        for name, cycle in self.cine.items():
            slices.setdefault(self.subjects.get(name, name), []).append(cycle)
        return {
            subject: {name: sum_slices([one[name] for one in group]) for name in group[0]}
            for subject, group in slices.items()
            if len(group) > 1 and have_equal_frame_counts(group)
        }

    def subject_or_case_cine(self) -> dict[str, dict[str, CineMetrics]]:
        """Return the cine metrics of the subjects, or where there are none those of the cases."""
        return self.subject_cine() or self.cine

    @property
    def groups(self) -> list[str]:
        """Return the subject of each case, in the order of `cases`."""
        return [self.subjects.get(name, name) for name in self.cases]


def to_json(scores: Scores) -> dict[str, Any]:
    """Return the content of `scores.json`."""
    summary: dict[str, dict[str, dict[str, Any]]] = {"mean": {}, "median": {}, "interval": {}}
    for class_name, metrics in scores.metrics.items():
        columns = {metric: scores.values(class_name, metric) for metric in metrics}
        summary["mean"][class_name] = {m: float(np.mean(column)) for m, column in columns.items()}
        summary["median"][class_name] = {m: float(np.median(column)) for m, column in columns.items()}
        summary["interval"][class_name] = {m: scores.interval(class_name, m) for m in metrics}
    return {
        "version": VERSION,
        f"tolerance_{scores.unit}": scores.tolerance,
        "classes": scores.classes,
        "cases": {
            name: {class_name: _record(one) for class_name, one in case.items()}
            for name, case in scores.cases.items()
        },
        **summary,
        "mean_dice": scores.mean_dice,
        "mean_dice_interval": scores.mean_dice_interval,
        "subjects": scores.subjects,
        "failed": scores.failed,
        "part": scores.part,
        **_cine_to_json(scores),
    }


def _bounds(metric: str) -> Interval:
    """Return the least and the largest possible mean of a metric."""
    if metric.startswith("volume_difference"):
        return -math.inf, math.inf
    return 0.0, 1.0 if metric in _SHARES else math.inf


def _cine_to_json(scores: Scores) -> dict[str, Any]:
    if not scores.cine:
        return {}
    return {
        key: {
            name: {class_name: _cine_record(one) for class_name, one in by_class.items()}
            for name, by_class in cycles.items()
        }
        for key, cycles in (("cycle", scores.cine), ("subject_cycle", scores.subject_cine()))
    }


def to_csv(scores: Scores) -> str:
    """Return a CSV table with one row per case and class and one column per metric."""
    text = io.StringIO()
    names = list(dict.fromkeys(metric for metrics in scores.metrics.values() for metric in metrics))
    table = csv.DictWriter(text, ["case", "subject", "class", *names, "empty"], lineterminator="\n")
    table.writeheader()
    for subject, (name, case) in zip(scores.groups, scores.cases.items(), strict=True):
        for class_name, one in case.items():
            table.writerow({"case": name, "subject": subject, "class": class_name, **_record(one)})
    return text.getvalue()


def check_scores_file(path: Path) -> None:
    """Raise InputError when scores cannot be written to `path`; before the work is done."""
    if path.suffix != ".json":
        raise file_error(path, "scores are written as JSON", "give a name that ends with .json")
    if path.is_dir():
        raise file_error(path, "is a folder", "give a file")
    check_writable(path.parent)


def write_scores(path: Path, scores: Scores) -> None:
    """Write `path` (ending .json) and the table beside it, each whole or not at all.

    Raises InputError when the ending is another or the disk refuses.
    """
    path = Path(path)
    check_scores_file(path)
    write_json_atomic(path, to_json(scores))
    write_bytes_atomic(path.with_suffix(".csv"), to_csv(scores).encode())


def read_scores(path: Path) -> Scores:
    """Read the scores that `write_scores` wrote. Raises InputError for a missing, damaged or newer file."""
    remedy = "make it with ldseg evaluate PREDICTIONS LABELS -o scores.json"
    content = read_versioned(Path(path), VERSION, remedy)
    try:
        found = _parsed(content)
    except (ValueError, LookupError, TypeError, AttributeError) as problem:
        raise file_error(path, f"is no scores.json (at {problem})", remedy) from problem
    if not found.cases:
        raise file_error(path, "has no case", remedy)
    known = [
        {class_name: set(one.metrics) for class_name, one in case.items()} for case in found.cases.values()
    ]
    for name, metrics in zip(found.cases, known, strict=True):
        if metrics != known[0]:
            finding = f"has other structures or metrics for {name} than for {next(iter(found.cases))}"
            raise file_error(path, finding, remedy)
    return found


def _parsed(content: dict[str, Any]) -> Scores:
    """Return the scores of the content of `scores.json`; other content raises many kinds of errors."""
    return Scores(
        cases={
            name: {
                class_name: ClassScores(
                    {metric: float(value) for metric, value in record.items() if metric != "empty"},
                    record.get("empty", "none"),
                )
                for class_name, record in case.items()
            }
            for name, case in content["cases"].items()
        },
        classes=content["classes"],
        tolerance=content["tolerance_px"] if "tolerance_px" in content else content["tolerance_mm"],
        subjects=content.get("subjects", {}),
        failed=content.get("failed", {}),
        cine={
            name: {class_name: _parsed_cine(record) for class_name, record in by_class.items()}
            for name, by_class in content.get("cycle", {}).items()
        },
        part=content.get("part"),
    )


def _record(one: ClassScores) -> dict[str, float | str]:
    return dict(one.metrics) if one.empty == "none" else {**one.metrics, "empty": one.empty}


def _cine_record(one: CineMetrics) -> dict[str, Any]:
    unit = area_unit(one.physical)
    return {
        f"area_{unit}": one.areas,
        f"reference_area_{unit}": one.reference_areas,
        "neighbour_dice": one.neighbour_dice,
        "reference_neighbour_dice": one.reference_neighbour_dice,
        **one.ejection_fractions(),
    }


def _parsed_cine(record: dict[str, Any]) -> CineMetrics:
    physical = "area_px" not in record
    unit = area_unit(physical)
    return CineMetrics(
        tuple(record[f"area_{unit}"]),
        tuple(record[f"reference_area_{unit}"]),
        record["neighbour_dice"],
        record["reference_neighbour_dice"],
        physical,
    )


def _is_physical(case: dict[str, ClassScores]) -> bool:
    """Return whether a case's lengths are in mm, by the names of its metrics."""
    return not any(metric.endswith("_px") for one in case.values() for metric in one.metrics)
