"""Comparison of two methods: paired by case name, refused where the cases are not the same."""

from __future__ import annotations

import pytest

from ldseg.errors import InputError
from ldseg.evaluation.case_metrics import ClassScores
from ldseg.evaluation.compare import ALL_CLASSES, compare
from ldseg.evaluation.scores import Scores


def scores(
    dice: dict[str, float], tolerance: float = 1.0, class_name: str = "head", unit: str = "mm"
) -> Scores:
    cases = {
        name: {class_name: ClassScores({"dice": value, f"hd95_{unit}": 2.0})} for name, value in dice.items()
    }
    return Scores(cases, {"background": 0, class_name: 1}, tolerance)


A = {"one": 0.5, "two": 0.9, "three": 0.7}


def test_cases_are_paired_by_name_not_by_order() -> None:
    better = {"three": 0.8, "one": 0.6, "two": 1.0}
    row = next(r for r in compare(scores(A), scores(better)) if (r.class_name, r.metric) == ("head", "dice"))
    assert row.difference == pytest.approx(0.1)
    assert row.interval == pytest.approx((0.1, 0.1))
    assert (row.a, row.b) == pytest.approx((0.7, 0.8))


def test_the_first_row_is_the_mean_over_classes() -> None:
    first = compare(scores(A), scores(A))[0]
    assert (first.class_name, first.metric, first.difference) == (ALL_CLASSES, "dice", 0.0)


def test_different_cases_are_named() -> None:
    with pytest.raises(InputError, match=r"different cases.*first: two.*second: four") as caught:
        compare(scores(A), scores({"one": 0.5, "four": 0.9, "three": 0.7}))
    assert "\n" not in str(caught.value)


def test_different_classes_are_refused() -> None:
    with pytest.raises(InputError, match="different structures"):
        compare(scores(A), scores(A, class_name="tail"))


def test_different_tolerances_are_refused() -> None:
    with pytest.raises(InputError, match="tolerance"):
        compare(scores(A), scores(A, tolerance=2.0))


def test_distances_in_pixels_are_compared_with_such_only() -> None:
    assert [row.metric for row in compare(scores(A, unit="px"), scores(A, unit="px"))][1:] == [
        "dice",
        "hd95_px",
    ]
    with pytest.raises(InputError, match="in mm in the first, in px in the second") as caught:
        compare(scores(A), scores(A, unit="px"))
    assert "\n" not in str(caught.value)
