"""Weights of an ensemble are those with which its members say most of the truth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import make_tiny_model

from ldseg.app.cli.main import main
from ldseg.data.dataset import open_dataset
from ldseg.data.formats import write_volume
from ldseg.data.splits import Fold, Splits, write_splits
from ldseg.data.volume import Volume
from ldseg.evaluation.calibration_fit import fit_interval_scale
from ldseg.evaluation.ensemble_fit import fit_weights
from ldseg.evaluation.predictions import iterate_predictions
from ldseg.inference.coherence import Coherence
from ldseg.inference.ensemble import Ensemble
from ldseg.inference.ensemble_files import load_models, read_ensemble
from ldseg.inference.temperature_scaling import (
    Calibration,
    scale_interval,
    store_calibration,
    with_temperature,
)
from ldseg.runs.saved_model import load_model, save_model


def test_the_weights_of_a_mixture_are_found() -> None:
    """Of classes drawn from a mixture whose weights are known."""
    rng = np.random.default_rng(0)
    members = rng.dirichlet([0.5, 0.5, 0.5], size=(2, 40_000))  # (M, N, K)
    mixture = 0.8 * members[0] + 0.2 * members[1]
    truth = (rng.uniform(size=(40_000, 1)) > mixture.cumsum(1)).sum(1).clip(max=2)
    likelihoods = np.take_along_axis(members, truth[None, :, None], 2)[..., 0]
    weights = fit_weights(likelihoods)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] == pytest.approx(0.8, abs=0.03)


def test_members_that_say_the_same_weigh_the_same() -> None:
    np.testing.assert_allclose(fit_weights(np.full((4, 10), 0.3)), 0.25)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A data set, and a run of two folds whose members are not trained on case d."""
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for name in "abcd":
        values = rng.normal(size=(1, 16, 16)).astype(np.float32)
        volume = Volume(values, (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0), "yx", "image")
        labels = np.zeros((1, 16, 16), np.uint8)
        labels[0, 3:9, 2:12], labels[0, 10:14, 2:12] = 2, 5
        write_volume(tmp_path / "data" / "images" / f"{name}.nii.gz", volume)
        mask = volume.with_array(labels, "labels")
        write_volume(tmp_path / "data" / "labels" / f"{name}.nii.gz", mask)
    for fold, validation in enumerate("ab"):
        made = load_model(make_tiny_model(tmp_path / f"made{fold}"), torch.device("cpu"))
        torch.manual_seed(fold)
        with torch.no_grad():
            for parameter in made.segmenter.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        folder = tmp_path / "run" / f"fold_{fold}"
        save_model(folder, made.segmenter, made.plan, made.settings, "card")
        rest = tuple(name for name in "abc" if name != validation)
        write_splits(folder / "splits.json", Splits(1, 0, (), (Fold(rest, (validation, "d")),)))
    return tmp_path


def calibrate(world: Path, *words: object) -> int:
    data = ("--data", world / "data", "--device", "cpu", "--samples", 4, "--steps", 2)
    return main([str(word) for word in ("calibrate", *words, *data)])


def test_a_run_with_folds_is_calibrated_on_what_no_member_has_seen(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = world / "run"
    assert calibrate(world, run, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cases"] == 1
    stored = read_ensemble(run)
    assert [one.model for one in stored.members] == ["fold_0", "fold_1"]
    assert sum(one.weight for one in stored.members) == pytest.approx(1)
    found = load_models(run, "cpu")
    assert isinstance(found, Ensemble)
    assert found.calibration == stored.calibration
    assert found.calibration.temperature != 1
    shutil.move(run, world / "moved")
    assert load_models(world / "moved", "cpu").calibration == stored.calibration


def test_several_models_are_an_ensemble_in_a_folder_of_their_own(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = (world / "run" / "fold_0", world / "run" / "fold_1")
    assert calibrate(world, *members) == 2
    assert "name a folder for its weights with -o" in capsys.readouterr().err
    assert calibrate(world, *members, "-o", world / "both") == 0
    assert "predict with -m" in capsys.readouterr().err
    assert load_models(world / "both", "cpu").identity.name == "both"
    assert [path.name for path in (world / "both").iterdir()] == ["ensemble.json"]


def test_members_without_a_case_in_common_are_one_line(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for fold, validation in enumerate("ab"):
        rest = tuple(name for name in "abcd" if name != validation)
        path = world / "run" / f"fold_{fold}" / "splits.json"
        write_splits(path, Splits(1, 0, (), (Fold(rest, (validation,)),)))
    assert calibrate(world, world / "run") == 2
    complaint = capsys.readouterr().err
    assert "no case is a validation case of all 2 members" in complaint
    assert "a case with the name of a training case counts as that case: rename" in complaint
    assert not (world / "run" / "ensemble.json").exists()


def test_intervals_are_fitted_on_samples_as_coherent_as_those_of_predictions(world: Path) -> None:
    for fold in range(2):
        calibration = Calibration(2.0, coherence=Coherence(16.0, 3.0))
        store_calibration(world / "run" / f"fold_{fold}", calibration)
    assert calibrate(world, world / "run") == 0
    found, dataset = load_models(world / "run", "cpu"), open_dataset(world / "data")
    case = next(case for case in dataset.cases if case.name == "d")
    (predicted,) = iterate_predictions(found, dataset, [case], samples=4, steps=2)
    estimates = [predicted.volumes[name] for name in predicted.true_volumes]
    widening = fit_interval_scale(estimates, list(predicted.true_volumes.values()))
    assert found.calibration.widening == pytest.approx(widening)


def test_what_is_measured_of_members_calibrated_alone_is_what_they_predict(world: Path) -> None:
    for fold, temperature in enumerate((2.0, 3.0)):
        calibration = Calibration(temperature, 0.1 * temperature, coherence=Coherence(4.0))
        store_calibration(world / "run" / f"fold_{fold}", calibration)
    ensemble, dataset = load_models(world / "run", "cpu"), open_dataset(world / "data")
    (measured,) = iterate_predictions(ensemble, dataset, dataset.cases[:1], samples=4, steps=2)
    predicted = ensemble(dataset.cases[0].images[0], samples=4, steps=2)
    probabilities = with_temperature(measured.probabilities, ensemble.calibration.temperature)
    np.testing.assert_allclose(probabilities, predicted.probabilities.array, atol=1e-6)
    for name, volume in predicted.volumes.items():
        assert scale_interval(measured.volumes[name], ensemble.calibration.widening) == volume
