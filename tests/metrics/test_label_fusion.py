"""Majority and STAPLE."""

from __future__ import annotations

import numpy as np

from ldseg.metrics.label_fusion import majority, staple


def noisy_raters() -> tuple[np.ndarray, list[np.ndarray]]:
    """A square of two structures, seen by two good raters and two that err in 45 % of the voxels."""
    rng = np.random.default_rng(0)
    truth = np.zeros((40, 40), np.uint8)
    truth[5:35, 5:20], truth[5:35, 20:35] = 3, 7
    raters = []
    for error in (0.02, 0.03, 0.45, 0.45):
        wrong = rng.uniform(size=truth.shape) < error
        raters.append(np.where(wrong, rng.choice([0, 3, 7], truth.shape), truth).astype(np.uint8))
    return truth, raters


def test_majority_needs_more_than_half() -> None:
    raters = [np.array(ids) for ids in ([1, 1, 2, 0], [1, 2, 2, 0], [1, 0, 0, 0], [2, 1, 0, 1])]
    assert majority(raters, [1, 2]).tolist() == [1, 0, 0, 0]
    assert majority(raters[:1], [1, 2]).tolist() == [1, 1, 2, 0]


def test_staple_trusts_the_good_raters() -> None:
    truth, raters = noisy_raters()
    by_staple = np.mean(staple(raters, [3, 7]) == truth)
    assert by_staple > np.mean(majority(raters, [3, 7]) == truth)
    assert by_staple > 0.95


def test_structures_that_raters_see_alike_hardly_or_never_need_no_estimate() -> None:
    truth, _ = noisy_raters()
    nothing = np.zeros_like(truth)
    np.testing.assert_array_equal(staple([truth] * 3, [3, 7]), truth)
    assert not staple([nothing] * 3, [3, 7]).any()
    assert not staple([truth, nothing, nothing], [3, 7]).any()
    np.testing.assert_array_equal(staple([truth], [3, 7]), truth)
