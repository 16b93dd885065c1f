"""Intervals: around the mean, wide enough where subjects are few, and wider where cases hang together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ldseg.metrics.intervals import mean_interval, paired_difference

VALUES = np.random.default_rng(0).normal(0.8, 0.1, 50).tolist()


def coverage(draw: Callable[[int], NDArray[np.float64]], mean: float, subjects: int) -> float:
    """Return the share of 2000 intervals that hold the true mean."""
    found = (mean_interval(draw(subjects).tolist()) for _ in range(2000))
    return float(np.mean([interval is not None and interval[0] <= mean <= interval[1] for interval in found]))


@pytest.mark.parametrize("subjects", [3, 4, 6, 8, 30, 100])
def test_intervals_of_few_subjects_cover_what_they_promise(subjects: int) -> None:
    rng = np.random.default_rng(subjects)
    assert coverage(lambda n: rng.normal(0.8, 0.1, n), 0.8, subjects) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("subjects", [3, 8, 30])
def test_intervals_of_skewed_scores_cover_nearly_what_they_promise(subjects: int) -> None:
    """Beta(18, 2) has the mean and the tail of Dice on an easy structure."""
    rng = np.random.default_rng(subjects)
    assert coverage(lambda n: rng.beta(18, 2, n), 0.9, subjects) > 0.91


def test_the_interval_of_many_cases_is_that_of_the_normal_theory() -> None:
    low, high = mean_interval(VALUES) or (np.nan, np.nan)
    half = stats.t.ppf(0.975, 49) * np.std(VALUES, ddof=1) / np.sqrt(len(VALUES))
    assert low == pytest.approx(np.mean(VALUES) - half)
    assert high == pytest.approx(np.mean(VALUES) + half)


def test_one_subject_has_no_interval() -> None:
    assert mean_interval([0.7]) is None
    assert mean_interval([0.7, 0.8], ["a", "a"]) is None


def test_an_interval_ends_at_the_bounds_of_the_metric() -> None:
    assert mean_interval([0.5, 1.0], bounds=(0, 1)) == (0, 1)


def test_nothing_has_no_interval() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_copies_of_a_subject_do_not_narrow_the_interval() -> None:
    """Each case four times over is no more evidence than once."""
    copies, subjects = VALUES * 4, [str(i) for i in range(50)] * 4
    assert mean_interval(copies, subjects) == pytest.approx(mean_interval(VALUES))


def test_a_steady_difference_is_found_and_its_sign_is_b_minus_a() -> None:
    better = [value + 0.01 + 0.001 * (i % 3) for i, value in enumerate(VALUES)]
    found = paired_difference(VALUES, better)
    assert found.interval is not None
    assert 0.01 < found.interval[0] <= found.mean <= found.interval[1] < 0.012
    assert found.p_value < 1e-6


def test_no_difference_is_no_finding() -> None:
    found = paired_difference(VALUES, VALUES)
    assert (found.mean, found.interval, found.p_value) == (0, (0, 0), 1)
