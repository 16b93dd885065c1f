"""Compare two methods on the same cases: paired differences, with intervals and a Wilcoxon test.

Paired, since most of the spread between cases is how hard they are, which both methods share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ldseg.data.file_names import name_key
from ldseg.errors import InputError, listed
from ldseg.evaluation.scores import Scores
from ldseg.metrics.intervals import Interval, paired_difference

ALL_CLASSES = "all classes"


@dataclass(frozen=True)
class Comparison:
    """The paired difference of one metric of one class."""

    class_name: str
    metric: str
    a: float
    """Mean of the first method."""
    b: float
    """Mean of the second method."""
    difference: float
    """Mean of b - a over the cases."""
    interval: Interval | None
    """95 % interval of the difference, by subjects; None for a single subject."""
    p_value: float
    """Two-sided Wilcoxon signed-rank; not corrected for the number of rows."""


def compare(a: Scores, b: Scores) -> list[Comparison]:
    """Return the differences b - a of the mean Dice over classes, and of each metric of each class.

    Raises InputError where cases, classes, unit or tolerance differ: then the numbers are not of one kind.
    """
    a, b = _in_nfc(a), _in_nfc(b)
    _require_equal("cases", set(a.cases), set(b.cases))
    _require_equal("structures", set(a.metrics), set(b.metrics))
    if a.unit != b.unit:
        raise InputError(
            f"the lengths are in {a.unit} in the first, in {b.unit} in the second scores; evaluate both "
            "against references of one spacing"
        )
    if a.tolerance != b.tolerance:
        raise InputError(
            f"the tolerance is {a.tolerance} {a.unit} in the first, {b.tolerance} {b.unit} in the second "
            f"scores; evaluate both with the same --tolerance-{a.unit}"
        )
    cases = {name: {class_name: b.cases[name][class_name] for class_name in a.metrics} for name in a.cases}
    b = replace(b, cases=cases, cine={})  # in the order of `a`
    rows = [_row(ALL_CLASSES, "dice", a.case_dice(), b.case_dice(), a.groups)]
    for name, metrics in a.metrics.items():
        shared = [metric for metric in metrics if metric in b.metrics[name]]
        rows += [_row(name, m, a.values(name, m), b.values(name, m), a.groups) for m in shared]
    return rows


def _row(name: str, metric: str, a: list[float], b: list[float], subjects: list[str]) -> Comparison:
    """Return the comparison of the values of one metric, case by case."""
    found = paired_difference(a, b, subjects)
    return Comparison(
        name, metric, float(np.mean(a)), float(np.mean(b)), found.mean, found.interval, found.p_value
    )


def _in_nfc(scores: Scores) -> Scores:
    """Return the scores with all names in Unicode NFC, since operating systems spell them differently."""
    cases = {name_key(name): classes for name, classes in scores.cases.items()}
    return replace(scores, cases=cases, subjects={name_key(n): s for n, s in scores.subjects.items()})


def _require_equal(what: str, a: set[str], b: set[str]) -> None:
    """Raise InputError where the two scores have different `what`."""
    if a == b:
        return
    only = [
        f"only in the {which}: {listed(sorted(names))}"
        for which, names in (("first", a - b), ("second", b - a))
        if names
    ]
    remedy = "evaluate both against the same masks, with the same --classes"
    raise InputError(f"the two scores have different {what} ({'; '.join(only)}); {remedy}")
