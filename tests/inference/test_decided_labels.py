"""Predictions by expected Dice: other labels, the same probabilities, and the Dice to expect beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ldseg.data.formats import read_volume, write_volume
from ldseg.data.inputs import find_inputs
from ldseg.data.volume import Volume
from ldseg.inference.base_predictor import Prediction
from ldseg.inference.decision import Decision
from ldseg.inference.predict_cases import PredictOptions, predict_cases
from ldseg.inference.predictor import Predictor
from ldseg.inference.provenance_journal import read_records
from ldseg.inference.temperature_scaling import Calibration, store_calibration
from ldseg.metrics.dice import dice

MakeModel = Callable[..., Path]


def image(axes: str, shape: tuple[int, ...]) -> Volume:
    d = len(shape)
    array = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    return Volume(array, (1.0,) * d, (0.0,) * d, tuple(np.eye(d).ravel().tolist()), axes, "image")  # type: ignore[arg-type]


def expected(found: Prediction, identity: int) -> float:
    """Return the mean Dice of a structure with the samples."""
    labels = found.labels.array == identity
    return float(np.mean([dice(labels, one.array == identity) for one in found.samples]))


@pytest.mark.parametrize("axes, shape", [("yx", (16, 16)), ("zyx", (8, 16, 16))])
def test_the_dice_to_expect_is_that_with_the_samples_and_no_less_than_of_the_argmax(
    make_model: MakeModel, axes: str, shape: tuple[int, ...]
) -> None:
    """In an image of one tile on the network's own grid, where all is exact."""
    predictor, volume = Predictor.load(make_model(axes), "cpu"), image(axes, shape)
    plain = predictor(volume, samples=6, keep_samples=True)
    found = predictor.deciding_by("expected-dice")(volume, samples=6, keep_samples=True)
    assert (plain.decision, plain.expected_dice) == ("argmax", {})
    assert found.decision == "expected-dice"
    for name, identity in (("left", 2), ("right", 5)):
        assert found.expected_dice[name] == pytest.approx(expected(found, identity), abs=1e-6)
    means = [np.mean([expected(one, identity) for identity in (2, 5)]) for one in (found, plain)]
    assert means[0] >= means[1]
    np.testing.assert_array_equal(found.probabilities.array, plain.probabilities.array)
    for one, other in zip(found.samples, plain.samples, strict=True):
        np.testing.assert_array_equal(one.array, other.array)


def test_a_decision_changes_labels(make_model: MakeModel) -> None:
    predictor, volume = Predictor.load(make_model(), "cpu"), image("yx", (40, 37))
    plain, found = (
        predictor.deciding_by(decision)(volume, samples=6) for decision in ("argmax", "expected-dice")
    )
    assert np.any(plain.labels.array != found.labels.array)
    assert set(np.unique(found.labels.array)) <= {0, 2, 5}


def test_one_sample_is_not_decided_about(make_model: MakeModel) -> None:
    predictor, volume = Predictor.load(make_model(), "cpu"), image("yx", (16, 20))
    found = predictor.deciding_by("expected-dice")(volume, samples=1)
    np.testing.assert_array_equal(found.labels.array, predictor(volume, samples=1).labels.array)
    assert (found.decision, found.expected_dice) == ("argmax", {})


def test_asking_for_the_decision_asks_for_samples(make_model: MakeModel) -> None:
    predictor = Predictor.load(make_model(), "cpu")
    assert predictor.deciding_by("expected-dice").sampling() == predictor.settings.posterior
    assert predictor.deciding_by("argmax").sampling() == predictor.settings.sampling
    unet = Predictor.load(make_model(baseline="unet"), "cpu")
    assert unet.deciding_by("expected-dice").sampling().samples == 1


@pytest.mark.parametrize("asked", [None, "argmax"])
def test_the_decision_of_the_calibration_is_the_default_for_several_samples(
    make_model: MakeModel, asked: Decision | None
) -> None:
    folder = make_model()
    store_calibration(folder, Calibration(decision="expected-dice"))
    predictor = Predictor.load(folder, "cpu").deciding_by(asked)
    assert predictor.sampling() == predictor.settings.sampling
    found = predictor(image("yx", (16, 16)), samples=4)
    assert found.decision == ("expected-dice" if asked is None else "argmax")
    assert predictor.uncalibrated()(image("yx", (16, 16)), samples=4).decision == "argmax"


@pytest.mark.parametrize("factor", [1.5, 1000.0])
def test_the_dice_to_expect_is_corrected_by_the_calibration(make_model: MakeModel, factor: float) -> None:
    predictor = Predictor.load(make_model(), "cpu").deciding_by("expected-dice")
    volume = image("yx", (16, 16))
    before = predictor(volume, samples=4).expected_dice
    corrected = predictor.with_changes(calibration=Calibration(dice_loss_factor=factor))
    wanted = {name: max(0.0, 1 - factor * (1 - dice)) for name, dice in before.items()}
    assert corrected(volume, samples=4).expected_dice == pytest.approx(wanted)


def test_the_record_of_a_case_has_its_decision_and_the_dice_to_expect(
    make_model: MakeModel, tmp_path: Path
) -> None:
    predictor, path = Predictor.load(make_model(), "cpu"), tmp_path / "a.nii.gz"
    write_volume(path, image("yx", (16, 20)))
    options = PredictOptions(
        samples=3, save=("labels", "uncertainty"), decision="expected-dice", max_memory=8
    )
    predict_cases(predictor, find_inputs([path], 1, "yx"), tmp_path / "out", options)
    record = read_records(tmp_path / "out").cases["a"]
    wanted = predictor.deciding_by("expected-dice")(path, samples=3)
    assert record.settings.decision == "expected-dice"
    assert record.expected_dice == wanted.expected_dice
    summary = json.loads((tmp_path / "out" / "a_summary.json").read_text())
    assert summary["expected_dice"] == record.expected_dice
    labels = read_volume(tmp_path / "out" / "a.nii.gz", "labels", "yx").array
    np.testing.assert_array_equal(labels, wanted.labels.array)
