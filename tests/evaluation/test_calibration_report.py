"""Calibration over cases: what is left out, what is calibrated, and a whole model measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ldseg.data.dataset import DataOptions, load_image, open_dataset
from ldseg.data.formats import write_volume
from ldseg.data.volume import Volume
from ldseg.evaluation.calibration_fit import calibrate, fit_on_cases, ignore_case
from ldseg.evaluation.calibration_report import CalibrationAccumulator, evaluate_calibration
from ldseg.evaluation.predictions import CasePrediction, iterate_predictions
from ldseg.inference.posterior import VolumeEstimate
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import UNCALIBRATED, Calibration, scale_interval, with_temperature
from ldseg.utils.serialization import to_json

MakeModel = Callable[..., Path]


def square(p: float, truth_rows: int, name: str = "a") -> CasePrediction:
    """An answer of 4 rows at probability `p` in 30 x 30; the first `truth_rows` rows are the truth."""
    probabilities = np.zeros((2, 30, 30), np.float32)
    probabilities[1, :4] = p
    probabilities[0] = 1 - probabilities[1]
    truth = np.zeros((30, 30), np.int16)
    truth[:truth_rows] = 1
    return CasePrediction(
        name, "yx", probabilities, truth, {"s": VolumeEstimate(120, 110, 125)}, {"s": 30.0 * truth_rows}
    )


def test_the_near_region_does_not_drown_in_background() -> None:
    accumulator = CalibrationAccumulator(2, margin=2)
    accumulator.add(square(0.9, 3))
    found = accumulator.report()
    assert found.everywhere is not None
    assert found.near is not None
    assert (found.everywhere.voxels, found.near.voxels) == (900, 180)
    assert found.near.ece * 180 == pytest.approx(found.everywhere.ece * 900)
    assert found.everywhere.ece == pytest.approx(120 * 0.15 / 900)


def test_ignored_voxels_count_nowhere() -> None:
    whole = square(0.9, 4)
    partly = replace(whole, truth=whole.truth.copy(), true_volumes={})
    partly.truth[0] = -1
    accumulator = CalibrationAccumulator(2, margin=2)
    accumulator.add(partly)
    found = accumulator.report()
    assert found.everywhere is not None
    assert found.near is not None
    assert (found.everywhere.voxels, found.near.voxels) == (870, 150)
    assert found.intervals == {}
    assert found.cases[0].dice == 1


def test_cases_are_sorted_by_their_confidence() -> None:
    accumulator = CalibrationAccumulator(2)
    accumulator.add(square(0.95, 4, "good"))
    accumulator.add(square(0.6, 2, "bad"))
    found = accumulator.report()
    assert [case.case for case in found.cases] == ["good", "bad"]
    assert found.cases[0].confidence == pytest.approx(2 * 0.95 / 1.95)
    bad = 1 - 2 * 60 / 180
    assert found.selection.aurc == pytest.approx(bad / 4)
    assert found.selection.excess_aurc == pytest.approx(0)
    assert found.selection.risk[-1].risk == pytest.approx(bad / 2)


def test_volume_intervals_are_counted_and_widened() -> None:
    def covered(widening: float) -> tuple[float, float]:
        accumulator = CalibrationAccumulator(2)
        for rows in (3, 4):  # true volumes 90 and 120 against 110 to 125
            accumulator.add(square(0.9, rows), Calibration(widening=widening))
        found = accumulator.report().intervals["s"]
        assert found.cases == 2
        return found.covered, found.width

    assert covered(0.0) == (0.5, pytest.approx(15 / 105))
    assert covered(0.2) == (1.0, pytest.approx(63 / 105))


def test_a_temperature_changes_the_confidence_and_not_the_dice() -> None:
    plain, softer = CalibrationAccumulator(2), CalibrationAccumulator(2)
    plain.add(square(0.9, 3))
    softer.add(square(0.9, 3), Calibration(temperature=2))
    a, b = plain.report(), softer.report()
    assert a.near is not None
    assert b.near is not None
    assert b.near.confidence < a.near.confidence
    assert b.cases[0].dice == a.cases[0].dice


def dataset_of(folder: Path, raters: int = 1) -> Path:
    """Three images of 20 x 24 at 0.5 mm with ids 0, 2 and 5."""
    rng = np.random.default_rng(0)
    place = {"spacing": (0.5, 0.5), "origin": (0.0, 0.0), "direction": (1.0, 0.0, 0.0, 1.0), "axes": "yx"}
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for case in "abc":
        image = rng.normal(size=(1, 20, 24)).astype(np.float32)
        write_volume(folder / "images" / f"{case}.nii.gz", Volume(image, kind="image", **place))  # type: ignore[arg-type]
        for rater in range(raters):
            ids = np.zeros((1, 20, 24), np.uint8)
            ids[0, 4:9, 3 + rater : 12], ids[0, 9:15] = 2, 5
            end = f"_rater{rater + 1}" if raters > 1 else ""
            volume = Volume(ids, kind="labels", **place)  # type: ignore[arg-type]
            write_volume(folder / "labels" / f"{case}{end}.nii.gz", volume)
    return folder


@pytest.mark.parametrize("baseline", ["none", "unet"])
def test_a_model_and_a_control_are_measured_alike(
    make_model: MakeModel, tmp_path: Path, baseline: str
) -> None:
    dataset = open_dataset(dataset_of(tmp_path / "set"), DataOptions(axes="yx"))
    predictor = Predictor.load(make_model(baseline=baseline), "cpu")
    found = evaluate_calibration(predictor, dataset, dataset.cases, samples=3, steps=1, seed=1)
    assert found.everywhere is not None
    assert found.everywhere.voxels == 3 * 20 * 24
    assert 0 <= found.everywhere.ece <= 1
    assert list(found.intervals) == ["left", "right"]
    assert json.loads(json.dumps(to_json(found), allow_nan=False))["cases"][2]["case"] == "c"
    again = evaluate_calibration(predictor, dataset, dataset.cases, samples=3, steps=1, seed=1)
    assert again == found


def test_each_rater_is_an_answer_with_volumes_in_square_millimetres(
    make_model: MakeModel, tmp_path: Path
) -> None:
    dataset = open_dataset(dataset_of(tmp_path / "set", raters=2), DataOptions(axes="yx"))
    predictor = Predictor.load(make_model(), "cpu")
    found = list(iterate_predictions(predictor, dataset, dataset.cases[:1], samples=2, steps=1))
    assert [one.case for one in found] == ["a", "a"]
    assert [one.true_volumes["left"] for one in found] == [45 / 4, 40 / 4]
    assert found[0].true_volumes["right"] == 6 * 24 / 4


def test_a_single_prediction_has_a_temperature_of_its_own(make_model: MakeModel, tmp_path: Path) -> None:
    dataset = open_dataset(dataset_of(tmp_path / "set"), DataOptions(axes="yx"))
    folder = make_model()
    predictor, image = Predictor.load(folder, "cpu"), load_image(dataset, dataset.cases[0])
    fitted, _ = calibrate(folder, predictor, dataset, dataset.cases, samples=3, steps=2)
    alone, _ = fit_on_cases(predictor, dataset, dataset.cases, 1, None, 0, ignore_case)
    assert fitted.single_temperature == alone.temperature != fitted.temperature
    assert alone.single_temperature is None
    calibrated = Predictor.load(folder, "cpu")
    for samples, temperature in ((1, alone.temperature), (3, fitted.temperature)):
        before, after = (
            one(image, "a", samples=samples, steps=2).probabilities.array
            for one in (calibrated.uncalibrated(), calibrated)
        )
        np.testing.assert_array_equal(after, with_temperature(before, temperature))


def test_a_model_that_was_calibrated_answers_so_from_then_on(make_model: MakeModel, tmp_path: Path) -> None:
    dataset = open_dataset(dataset_of(tmp_path / "set"), DataOptions(axes="yx"))
    folder = make_model()
    image = load_image(dataset, dataset.cases[0])
    before = Predictor.load(folder, "cpu")(image, "a", samples=3, steps=1)
    fitted, report = calibrate(
        folder, Predictor.load(folder, "cpu"), dataset, dataset.cases, samples=3, steps=1
    )
    predictor = Predictor.load(folder, "cpu")
    assert predictor.calibration == fitted
    assert fitted.temperature != 1
    after = predictor(image, "a", samples=3, steps=1)
    np.testing.assert_array_equal(after.labels.array, before.labels.array)
    np.testing.assert_array_equal(after.disagreement.array, before.disagreement.array)
    expected = with_temperature(before.probabilities.array, fitted.temperature)
    np.testing.assert_array_equal(after.probabilities.array, expected)
    assert not np.allclose(after.uncertainty.array, before.uncertainty.array)
    assert after.volumes["left"] == scale_interval(before.volumes["left"], fitted.widening)
    own = evaluate_calibration(predictor, dataset, dataset.cases, samples=3, steps=1)
    plain = evaluate_calibration(
        predictor, dataset, dataset.cases, samples=3, steps=1, calibration=UNCALIBRATED
    )
    assert own.near is not None
    assert plain.near is not None
    assert own.near.nll < plain.near.nll
    assert own.intervals["left"].covered > plain.intervals["left"].covered
    assert report == plain
    assert calibrate(folder, predictor, dataset, dataset.cases, samples=3, steps=1)[0] == fitted
