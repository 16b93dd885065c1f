"""Calibration figures against values by hand and against loops over voxels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ldseg.metrics import calibration
from ldseg.metrics.calibration import BINS, Reliability, VoxelCalibrationAccumulator, boundary_region


def measured(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> Reliability:
    accumulator = VoxelCalibrationAccumulator(len(probabilities))
    accumulator.add(probabilities.astype(np.float32), truth)
    found = accumulator.reliability()
    assert found is not None
    return found


def random_case(
    seed: int, voxels: int = 400, classes: int = 3
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.4), voxels).T
    return probabilities, rng.integers(classes, size=voxels)


def test_figures_by_hand() -> None:
    """Four voxels of confidence 0.9, three of them right; two of 0.6, one of them right."""
    p = np.array([[0.1, 0.1, 0.1, 0.1, 0.6, 0.6], [0.9, 0.9, 0.9, 0.9, 0.4, 0.4]])
    found = measured(p, np.array([1, 1, 1, 0, 0, 1]))
    assert found.voxels == 6
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.confidence == pytest.approx(0.8)
    assert found.ece == pytest.approx((4 * 0.15 + 2 * 0.1) / 6)
    assert found.brier == pytest.approx(2 * (3 * 0.01 + 0.81 + 0.16 + 0.36) / 6)
    assert found.nll == pytest.approx(-np.log([0.9] * 3 + [0.1, 0.6, 0.4]).mean())
    # Class 0 has p = 0.1 with 1 of 4 true, and 0.6 with 1 of 2; class 1 the mirror image.
    assert found.classwise_ece == pytest.approx((4 * 0.15 + 2 * 0.1) / 6)
    assert [(b.voxels, b.accuracy) for b in found.bins] == [(2, 0.5), (4, 0.75)]
    assert [b.confidence for b in found.bins] == pytest.approx([0.6, 0.9])
    # Surest first: 4 with one wrong at a random place, then 2 with one wrong.
    assert found.aurc == pytest.approx((4 * 0.25 + (1 + 0.5) / 5 + 2 / 6) / 6)


def test_figures_are_those_of_a_loop_over_voxels() -> None:
    p, y = random_case(0)
    found = measured(p, y)
    p = p.astype(np.float32).astype(float)
    classwise = []
    for k in range(3):
        members = [(p[k] > b / BINS) & (p[k] <= (b + 1) / BINS) for b in range(BINS)]
        classwise.append(sum(abs((y[m] == k).sum() - p[k][m].sum()) for m in members) / len(y))
    assert found.classwise_ece == pytest.approx(np.mean(classwise), abs=1e-9)
    confidence, right = p.max(0), p.argmax(0) == y
    gaps = [
        abs(right[m].sum() - confidence[m].sum())
        for b in range(BINS)
        for m in [(confidence > b / BINS) & (confidence <= (b + 1) / BINS)]
    ]
    assert found.ece == pytest.approx(sum(gaps) / len(y), abs=1e-9)
    wrong = ~right[np.argsort(-confidence, kind="stable")]
    running = np.cumsum(wrong) / np.arange(1, len(y) + 1)
    assert found.aurc == pytest.approx(running.mean(), abs=2e-3)


def test_cases_and_blocks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    p, y = random_case(1)
    together = measured(p, y)
    monkeypatch.setattr(calibration, "_BLOCK", 7)
    accumulator = VoxelCalibrationAccumulator(3)
    for part in (slice(0, 150), slice(150, 151), slice(151, None)):
        accumulator.add(p[:, part].astype(np.float32), y[part])
    found = accumulator.reliability()
    assert found is not None
    for name in ("voxels", "accuracy", "ece", "classwise_ece", "brier", "nll", "aurc", "excess_aurc"):
        assert getattr(found, name) == pytest.approx(getattr(together, name)), name
    assert [b.voxels for b in found.bins] == [b.voxels for b in together.bins]


def test_probabilities_that_are_drawn_from_are_calibrated() -> None:
    rng = np.random.default_rng(2)
    p = rng.uniform(size=200_000)
    found = measured(np.stack([1 - p, p]), (rng.uniform(size=len(p)) < p).astype(np.int64))
    assert found.ece < 0.005
    assert found.classwise_ece < 0.005
    assert found.excess_aurc > 0


def test_sure_and_right_is_perfect_and_sure_and_wrong_is_finite() -> None:
    certain = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    right = measured(certain, np.array([0, 1, 0]))
    assert (right.ece, right.brier, right.aurc, right.excess_aurc) == (0, 0, 0, 0)
    wrong = measured(certain, np.array([1, 0, 1]))
    assert (wrong.ece, wrong.brier, wrong.aurc) == (1, 2, 1)
    assert np.isfinite(wrong.nll)


def test_voxels_that_are_almost_sure_are_still_told_apart() -> None:
    """Confidences of .9999 and .999: the wrong ones are among the less sure."""
    p = np.repeat([0.9999, 0.999], [900, 100])
    wrong = np.arange(1000) >= 990
    found = measured(np.stack([p, 1 - p]), wrong.astype(np.int64))
    assert found.aurc < 0.002 < 0.01


def test_without_voxels_there_are_no_figures() -> None:
    accumulator = VoxelCalibrationAccumulator(2)
    accumulator.add(np.zeros((2, 0), np.float32), np.zeros(0, np.int64))
    assert accumulator.reliability() is None


def test_near_is_a_box_around_both_maps_within_each_frame() -> None:
    truth, predicted = np.zeros((2, 3, 9, 9), np.int16)
    truth[1, 2, 2] = 1
    predicted[1, 6, 7] = 2
    truth[0, 8, 8] = -1
    found = boundary_region(truth, predicted, "tyx", margin=1)
    expected = np.zeros((3, 9, 9), bool)
    expected[1, 1:4, 1:4] = expected[1, 5:8, 6:9] = True
    np.testing.assert_array_equal(found, expected)
    assert boundary_region(truth, predicted, "zyx", margin=1)[0].any()
    assert not boundary_region(np.zeros((4, 4), int), np.zeros((4, 4), int), "yx").any()
