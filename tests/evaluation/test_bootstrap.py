"""Intervals: seeded, around the mean, and wider where cases hang together."""

from __future__ import annotations

import numpy as np
import pytest

from ldseg.evaluation.bootstrap import mean_interval, paired_difference

VALUES = np.random.default_rng(0).normal(0.8, 0.1, 50).tolist()


def test_the_same_seed_gives_the_same_interval() -> None:
    assert mean_interval(VALUES, seed=3) == mean_interval(VALUES, seed=3)
    assert mean_interval(VALUES, seed=3) != mean_interval(VALUES, seed=4)


def test_the_interval_is_that_of_the_normal_theory() -> None:
    low, high = mean_interval(VALUES, resamples=20000)
    half = 1.96 * np.std(VALUES) / np.sqrt(len(VALUES))
    assert low == pytest.approx(np.mean(VALUES) - half, abs=0.002)
    assert high == pytest.approx(np.mean(VALUES) + half, abs=0.002)


def test_one_case_gives_its_value_twice() -> None:
    assert mean_interval([0.7]) == pytest.approx((0.7, 0.7))


def test_nothing_has_no_interval() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_copies_of_a_subject_do_not_narrow_the_interval() -> None:
    """Each case four times over is no more evidence than once."""
    copies, subjects = VALUES * 4, [str(i) for i in range(50)] * 4
    once, by_case = mean_interval(VALUES), mean_interval(copies)
    by_subject = mean_interval(copies, subjects)
    assert by_subject == pytest.approx(once)
    assert by_case[1] - by_case[0] < 0.7 * (once[1] - once[0])


def test_a_steady_difference_is_found_and_its_sign_is_b_minus_a() -> None:
    better = [value + 0.01 + 0.001 * (i % 3) for i, value in enumerate(VALUES)]
    found = paired_difference(VALUES, better)
    assert 0.01 < found.low <= found.mean <= found.high < 0.012
    assert found.p_value < 1e-6


def test_no_difference_is_no_finding() -> None:
    found = paired_difference(VALUES, VALUES)
    assert (found.mean, found.low, found.high, found.p_value) == (0, 0, 0, 1)
