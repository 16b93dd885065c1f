"""Calibration: what it is fitted to comes out, and what it promises holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from ldseg.errors import InputError
from ldseg.evaluation.calibration_fit import (
    NoStructureError,
    choose_decision,
    fit_calibration,
    fit_interval_scale,
    fit_temperature,
)
from ldseg.evaluation.predictions import CasePrediction
from ldseg.inference.posterior import VolumeEstimate
from ldseg.inference.temperature_scaling import (
    Calibration,
    scale_interval,
    store_calibration,
    stored_calibration,
    with_temperature,
)


def honest(seed: int, voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (3, N) and classes drawn from them."""
    rng = np.random.default_rng(seed)
    p = softmax(2 * rng.normal(size=(3, voxels)), 0)
    drawn = (rng.uniform(size=voxels) > np.cumsum(p, 0)).sum(0)
    return p.astype(np.float32), np.minimum(drawn, 2)


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_the_temperature_undoes_what_made_the_model_too_sure(factor: float) -> None:
    p, y = honest(0, 40_000)
    assert fit_temperature(with_temperature(p, factor), y) == pytest.approx(1 / factor, rel=0.03)


def test_temperature_keeps_the_likeliest_class_and_the_sum() -> None:
    p, _ = honest(1, 200)
    softer = with_temperature(p, 3.0)
    np.testing.assert_array_equal(softer.argmax(0), p.argmax(0))
    np.testing.assert_allclose(softer.sum(0), 1, atol=1e-6)
    assert softer.max(0).mean() < p.max(0).mean()
    assert with_temperature(p, 1.0) is p
    assert np.isfinite(with_temperature(np.array([[1.0], [0.0]], np.float32), 0.1)).all()


def test_widened_intervals_hold_nine_tenths_of_new_volumes() -> None:
    rng = np.random.default_rng(2)
    true = rng.uniform(50, 500, 600)
    means = true * rng.lognormal(0, 0.2, 600)
    estimates = [VolumeEstimate(m, 0.98 * m, 1.02 * m) for m in means]
    w = fit_interval_scale(estimates[:300], list(true[:300]))
    intervals = [scale_interval(estimate, w) for estimate in estimates[300:]]
    covered = np.mean([i.low <= v <= i.high for i, v in zip(intervals, true[300:], strict=True)])
    assert 0.85 < covered < 0.95


def test_intervals_that_are_too_wide_are_narrowed() -> None:
    estimates = [VolumeEstimate(100, 0, 200) for _ in range(99)]
    w = fit_interval_scale(estimates, list(np.linspace(90, 110, 99)))
    assert w < 0
    assert scale_interval(estimates[0], w).high == pytest.approx(110, abs=2)
    collapsed = scale_interval(VolumeEstimate(100, 90, 130), -5)
    assert (collapsed.low, collapsed.high) == (110, 110)


def test_an_interval_does_not_go_below_zero() -> None:
    assert scale_interval(VolumeEstimate(10, 5, 12), 2) == VolumeEstimate(10, 0, 32)


def test_structures_that_are_missed_wholly_are_passed_over() -> None:
    nothing = VolumeEstimate(0, 0, 0)
    assert fit_interval_scale([nothing], [5.0]) == 0
    assert fit_interval_scale([nothing, VolumeEstimate(10, 10, 10)], [5.0, 12.0]) == pytest.approx(0.2)


def answer(seed: int, sharpness: float) -> CasePrediction:
    p, y = honest(seed, 900)
    p, y = p.reshape(3, 30, 30), y.reshape(30, 30).astype(np.int16)
    p = with_temperature(p, sharpness)
    y[:3] = -1
    return CasePrediction(f"case{seed}", "yx", p, y, {}, {})


def test_a_recalibration_is_fitted_over_cases_without_ignored_voxels() -> None:
    cases = [answer(seed, 0.5) for seed in range(8)]
    found = fit_calibration(cases)
    assert found.temperature == pytest.approx(2, rel=0.1)
    assert found.widening == 0
    assert fit_calibration(cases) == found


def test_the_dice_to_expect_is_corrected_to_what_was_found() -> None:
    p, truth = np.full((2, 4, 4), 0.5, np.float32), np.ones((4, 4), np.int16)
    half = np.zeros_like(truth)
    half[:2] = 1  # Dice of 2/3
    predictions = [
        CasePrediction(name, "yx", p, truth, {}, {}, decided, {"left": expected})
        for name, decided, expected in (("a", half, 0.8), ("b", half, 0.7), ("c", truth, 1.0))
    ]
    assert fit_calibration(predictions).dice_loss_factor == pytest.approx((2 / 3) / 0.5)
    assert fit_calibration(predictions[2:]).dice_loss_factor == 1  # nothing was expected to be lost
    predictions = [replace(one, expected_dice={}) for one in predictions]
    assert fit_calibration(predictions).dice_loss_factor == 1


def test_nothing_to_fit_on_is_said() -> None:
    empty = np.zeros((2, 4, 4), np.float32)
    empty[0] = 1
    with pytest.raises(ValueError, match="no case has a structure"):
        fit_calibration([CasePrediction("a", "yx", empty, np.zeros((4, 4), np.int16), {}, {})])


def test_a_recalibration_belongs_to_the_weights_it_was_fitted_on(tmp_path: Path) -> None:
    assert stored_calibration(tmp_path) == Calibration()
    weights, path = tmp_path / "model.safetensors", tmp_path / "calibration.json"
    weights.write_bytes(b"trained")
    store_calibration(tmp_path, Calibration(1.3, 0.05))
    assert stored_calibration(tmp_path) == Calibration(1.3, 0.05)
    weights.write_bytes(b"trained on")
    with pytest.raises(InputError, match=r"calibration\.json: was fitted on other weights .* remove it"):
        stored_calibration(tmp_path)
    path.write_text(path.read_text().replace("1.3", "0"))
    with pytest.raises(InputError, match=r"calibration\.json: temperature is 0"):
        stored_calibration(tmp_path)


def test_a_sure_and_right_background_is_not_made_unsure() -> None:
    rng = np.random.default_rng(3)
    y = np.zeros((64, 64), np.int16)
    y[30:34, 30:34] = rng.integers(0, 2, (4, 4))  # here the answer is sure, and wrong every other time
    sure = np.where(np.pad(np.ones((4, 4), bool), 30), 0.01, 0.99).astype(np.float32)
    p = np.stack([sure, 1 - sure])
    fitted = fit_calibration([CasePrediction("a", "yx", p, y, {}, {})])
    before, after = (
        np.take_along_axis(q, y[None].astype(int), 0) for q in (p, with_temperature(p, fitted.temperature))
    )
    assert -np.log(after).mean() <= -np.log(before).mean() + 1e-6


def test_a_structure_where_nothing_is_labelled_is_none() -> None:
    p = np.stack([np.full((4, 4), 0.2), np.full((4, 4), 0.8)]).astype(np.float32)
    with pytest.raises(NoStructureError):
        fit_calibration([CasePrediction("a", "yx", p, np.full((4, 4), -1, np.int16), {}, {})])


@pytest.mark.parametrize(
    "gains, decision",
    [
        ([0.01, 0.02, 0.015, 0.0], "expected-dice"),
        ([0.01, -0.02, 0.015, 0.0], "argmax"),
        ([0.0, 0.0, 0.0], "argmax"),
        ([0.05], "argmax"),
    ],
)
def test_the_decision_is_by_expected_dice_where_validation_cases_clearly_gain(
    gains: list[float], decision: str
) -> None:
    assert choose_decision(gains) == decision


@pytest.mark.parametrize("better", [True, False])
def test_labels_that_are_decided_better_than_the_argmax_choose_the_decision(better: bool) -> None:
    found: list[CasePrediction] = []
    for number in range(4):
        probabilities = np.full((2, 10, 10), 0.6, np.float32)
        probabilities[1] = 0.4
        truth = np.zeros((10, 10), np.int16)
        truth[number : number + 5] = 1
        probabilities[:, 0, 0] = 0.2, 0.8
        decided = truth if better else np.zeros_like(truth)
        found.append(CasePrediction(str(number), "yx", probabilities, truth, {}, {}, decided))
    assert fit_calibration(found).decision == ("expected-dice" if better else "argmax")


def test_raters_of_a_case_do_not_make_its_gain_more_certain() -> None:
    probabilities = np.full((2, 10, 10), 0.6, np.float32)
    probabilities[1] = 0.4
    probabilities[:, 0, 0] = 0.2, 0.8
    truth = np.zeros((10, 10), np.int16)
    truth[:5] = 1
    for cases, decision in ((("a", "b"), "argmax"), ([f"{number}" for number in range(16)], "expected-dice")):
        found = [
            CasePrediction(cases[number % len(cases)], "yx", probabilities, truth, {}, {}, decided)
            for number, decided in enumerate([truth, np.zeros_like(truth)] * 8)
        ]
        assert fit_calibration(found).decision == decision
