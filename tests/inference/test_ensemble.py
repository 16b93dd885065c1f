"""An ensemble is the mixture of its members, and says what they disagree on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import make_tiny_model

import ldseg
from ldseg.data.formats import read_volume, write_volume
from ldseg.data.inputs import find_inputs
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.coherence import Coherence
from ldseg.inference.ensemble import Ensemble
from ldseg.inference.ensemble_files import StoredEnsemble, StoredMember, load_models, write_ensemble
from ldseg.inference.predict_cases import PredictOptions, predict_cases
from ldseg.inference.predictor import Predictor
from ldseg.inference.provenance_journal import read_records
from ldseg.inference.temperature_scaling import Calibration, store_calibration
from ldseg.metrics.dice import dice
from ldseg.planning.plan import read_plan, write_plan
from ldseg.runs.saved_model import load_model, save_model

MakeModel = Callable[..., Path]


def image(axes: str = "yx", shape: tuple[int, ...] = (20, 27)) -> Volume:
    d = len(shape)
    array = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    return Volume(array, (1.0,) * d, (0.0,) * d, tuple(np.eye(d).ravel().tolist()), axes, "image")  # type: ignore[arg-type]


def make_members(root: Path, number: int = 2, axes: str = "yx", baseline: str = "none") -> list[Path]:
    """Save models that differ by their weights as the folds of a run."""
    folders: list[Path] = []
    for fold in range(number):
        folder = root / "run" / f"fold_{fold}"
        made = make_tiny_model(root / f"made_{fold}", axes, baseline)
        model = load_model(made, torch.device("cpu"))
        torch.manual_seed(fold)
        with torch.no_grad():
            for parameter in model.segmenter.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        save_model(folder, model.segmenter, model.plan, model.settings, "card")
        folders.append(folder)
    return folders


@pytest.fixture
def members(tmp_path: Path) -> list[Path]:
    return make_members(tmp_path)


def alone(folders: list[Path]) -> list[Predictor]:
    return [Predictor.load(folder, "cpu") for folder in folders]


def loaded(*models: Path) -> Ensemble:
    found = load_models(models, "cpu")
    assert isinstance(found, Ensemble)
    return found


@pytest.mark.parametrize("samples", [1, 6])
def test_probabilities_are_the_mean_of_the_members(members: list[Path], samples: int) -> None:
    found = loaded(*members)(image(), samples=samples, seed=3)
    each = [one(image(), samples=max(1, samples // 2), seed=3) for one in alone(members)]
    mean = np.mean([one.probabilities.array for one in each], axis=0)
    np.testing.assert_allclose(found.probabilities.array, mean, atol=1e-6)
    ids = np.array([0, 2, 5])
    np.testing.assert_array_equal(found.labels.array[0], ids[found.probabilities.array.argmax(0)])
    frequencies = np.mean([one.frequencies.array for one in each], axis=0)
    np.testing.assert_allclose(found.frequencies.array, frequencies, atol=1e-6)


def test_what_members_disagree_on_is_told_apart_from_what_samples_disagree_on(members: list[Path]) -> None:
    found = loaded(*members)(image(), samples=6)
    each = [one(image(), samples=3) for one in alone(members)]
    within = np.mean([one.disagreement.array for one in each], axis=0)
    np.testing.assert_allclose(found.disagreement.array, within, atol=1e-6)
    assert found.member_disagreement is not None
    between = found.uncertainty.array - np.mean([one.uncertainty.array for one in each], axis=0)
    np.testing.assert_allclose(found.member_disagreement.array, between, atol=1e-5)
    assert between.max() > 0.01
    assert found.ensemble is not None
    assert found.ensemble.member_disagreement == pytest.approx(between.mean(), abs=1e-5)
    assert found.ensemble.sample_disagreement == pytest.approx(within.mean(), abs=1e-6)
    for name, identity in (("left", 2), ("right", 5)):
        pair = [one.probabilities.array.argmax(0) for one in each]
        index = {2: 1, 5: 2}[identity]
        assert found.ensemble.pairwise_dice[name] == pytest.approx(dice(pair[0] == index, pair[1] == index))


def test_volumes_are_of_the_samples_of_all_members(members: list[Path]) -> None:
    found = loaded(*members)(image(), samples=6, keep_samples=True)
    each = [one(image(), samples=3, keep_samples=True) for one in alone(members)]
    assert len(found.samples) == 6
    for one, other in zip(found.samples, [one for member in each for one in member.samples], strict=True):
        np.testing.assert_array_equal(one.array, other.array)
    sizes = [size for one in each for size in one.sample_volumes["left"]]
    assert found.volumes["left"].mean == pytest.approx(np.mean(sizes))
    assert found.volumes["left"].high == pytest.approx(np.quantile(sizes, 0.95))
    assert 0 < found.pairwise_dice["left"] < max(one.pairwise_dice["left"] for one in each) + 1e-9


def test_a_single_prediction_of_members_has_no_samples(members: list[Path]) -> None:
    found = loaded(*members)(image(), keep_samples=True)
    assert found.pairwise_dice == {}
    assert float(found.disagreement.array.max()) == 0
    (only,) = found.samples
    np.testing.assert_array_equal(only.array, found.labels.array)


@pytest.mark.parametrize("as_run", [True, False])
def test_one_member_is_that_model_alone(tmp_path: Path, as_run: bool) -> None:
    (folder,) = make_members(tmp_path, 1)
    found = load_models(folder.parent if as_run else [folder], "cpu")
    assert isinstance(found, Predictor)
    wanted = Predictor.load(folder, "cpu")(image(), samples=3)
    np.testing.assert_array_equal(found(image(), samples=3).probabilities.array, wanted.probabilities.array)


def test_the_folds_of_a_run_are_its_ensemble(members: list[Path]) -> None:
    run = members[0].parent
    of_run, named = loaded(run), loaded(*members)
    assert (of_run.identity.name, named.identity.name) == ("run", "fold_0+fold_1")
    assert of_run.identity.sha256 == named.identity.sha256
    assert [one.name for one in of_run.identity.members] == ["fold_0", "fold_1"]
    np.testing.assert_array_equal(of_run(image()).probabilities.array, named(image()).probabilities.array)
    assert isinstance(ldseg.load(run), Ensemble)


def test_weights_weigh_members_and_share_the_samples(members: list[Path]) -> None:
    predictors = alone(members)
    found = Ensemble(predictors, [3, 1])(image(), samples=8, keep_samples=True)
    one, other = predictors[0](image(), samples=6), predictors[1](image(), samples=2)
    mean = 0.75 * one.probabilities.array + 0.25 * other.probabilities.array
    np.testing.assert_allclose(found.probabilities.array, mean, atol=1e-6)
    assert len(found.samples) == 8


def test_each_member_draws_at_least_two_of_several_samples(members: list[Path]) -> None:
    assert loaded(*members).sampling(samples=2).samples == 4
    assert loaded(*members).sampling(samples=9).samples == 9
    assert len(loaded(*members)(image(), samples=9, keep_samples=True).samples) == 9
    assert loaded(*members).sampling().samples == 1


def test_members_on_grids_of_their_own_are_mixed_on_that_of_the_image(members: list[Path]) -> None:
    plan = read_plan(members[1] / "plan.json")
    write_plan(members[1] / "plan.json", replace(plan, spacing=(2.0, 1.5), patch=(32, 16)))
    found = loaded(*members)(image(), samples=4)
    assert found.labels.array.shape == (1, 20, 27)
    mean = np.mean([one(image(), samples=2).probabilities.array for one in alone(members)], axis=0)
    np.testing.assert_allclose(found.probabilities.array, mean, atol=1e-6)


def test_a_deterministic_model_and_one_that_samples_are_members_of_one_ensemble(tmp_path: Path) -> None:
    unet, ours = make_tiny_model(tmp_path, baseline="unet"), make_tiny_model(tmp_path)
    found = loaded(unet, ours)
    assert (found.stochastic, found.stepwise) == (True, True)
    assert found.sampling(samples=2).samples == 3
    each = [Predictor.load(unet, "cpu")(image()), Predictor.load(ours, "cpu")(image(), samples=7)]
    mean = np.mean([one.probabilities.array for one in each], axis=0)
    np.testing.assert_allclose(found(image(), samples=8).probabilities.array, mean, atol=1e-6)


def test_the_predictions_of_deterministic_members_are_the_samples_of_their_ensemble(tmp_path: Path) -> None:
    folders = make_members(tmp_path, 3, baseline="unet")
    ensemble = loaded(*folders)
    assert ensemble.sampling().samples == 1
    assert ensemble.posterior_sampling(samples=2).samples == 3
    small = image(shape=(16, 16))  # one tile
    found = ensemble(small, samples=16, keep_samples=True)
    each = [one(small).labels.array for one in alone(folders)]
    assert [one.array.tolist() for one in found.samples] == [one.tolist() for one in each]
    for k, label in enumerate((0, 2, 5)):
        shares = np.mean([one[0] == label for one in each], axis=0)
        np.testing.assert_allclose(found.frequencies.array[k], shares, atol=1e-6)
    sizes = [float((one == 2).sum()) for one in each]
    assert found.sample_volumes["left"] == pytest.approx(sizes)
    assert found.volumes["left"].low == pytest.approx(np.quantile(sizes, 0.05))


def test_another_number_of_samples_than_was_asked_for_is_a_note(tmp_path: Path) -> None:
    drawing, unets = make_members(tmp_path), make_members(tmp_path / "b", baseline="unet")
    least = "each member that draws samples draws at least 2: there are 4 samples, not 3"
    assert loaded(*drawing)(image(), samples=3).notes[-1:] == (least,)
    assert loaded(*drawing)(image(), samples=6).notes == loaded(*drawing)(image()).notes
    one_each = "each member is deterministic and gives one: there are 2 samples, not 7"
    assert loaded(*unets)(image(), samples=7).notes[-1:] == (one_each,)
    single = "one step gives the deterministic prediction, not 4 samples; take 2 steps or more"
    assert loaded(*drawing)(image(), steps=1, samples=4).notes[-1:] == (single,)


def test_expected_dice_decides_over_the_samples_of_all_members(members: list[Path]) -> None:
    ensemble = loaded(*members)
    plain, found = (
        ensemble.deciding_by(one)(image(), samples=6, keep_samples=True)
        for one in ("argmax", "expected-dice")
    )
    assert (plain.decision, found.decision) == ("argmax", "expected-dice")

    def score(labels: Volume) -> float:
        pairs = [(one.array == k, labels.array == k) for one in found.samples for k in (2, 5)]
        return float(np.mean([dice(*pair) for pair in pairs]))

    assert score(found.labels) >= score(plain.labels)
    assert np.mean(list(found.expected_dice.values())) == pytest.approx(score(found.labels), abs=1e-6)


def test_members_that_do_not_fit_are_one_line(members: list[Path], tmp_path: Path) -> None:
    plan = read_plan(members[1] / "plan.json")
    write_plan(members[1] / "plan.json", replace(plan, classes={"background": 0, "left": 2, "top": 5}))
    with pytest.raises(
        InputError, match=r"^fold_1: its classes are background 0, left 2, top 5, those of fold_0"
    ):
        load_models(members, "cpu")
    other = make_members(tmp_path / "other", 1, "zyx")[0]
    with pytest.raises(InputError, match="its axes are zyx, those of fold_0 are yx"):
        load_models([members[0], other], "cpu")
    with pytest.raises(InputError, match="fold_0: is given twice"):
        load_models([members[0], members[0]], "cpu")
    with pytest.raises(InputError, match="there is no model"):
        load_models([], "cpu")


def test_members_are_calibrated_each_by_itself_or_all_together(members: list[Path]) -> None:
    raw = loaded(*members)(image()).probabilities.array
    for folder, temperature in zip(members, (2.0, 3.0), strict=True):
        calibration = Calibration(temperature, temperature, "expected-dice", dice_loss_factor=temperature)
        store_calibration(folder, calibration)
    each, ensemble = alone(members), loaded(*members)
    mean = np.mean([one(image()).probabilities.array for one in each], axis=0)
    np.testing.assert_allclose(ensemble(image()).probabilities.array, mean, atol=1e-6)
    assert ensemble.calibration == Calibration(1.0, 2.5, "expected-dice", dice_loss_factor=2.5)
    np.testing.assert_allclose(ensemble.uncalibrated()(image()).probabilities.array, raw, atol=1e-6)
    together = Ensemble(each, calibration=Calibration(2.0))(image()).probabilities.array
    np.testing.assert_allclose(together, np.sqrt(raw) / np.sqrt(raw).sum(0), atol=1e-5)


def test_an_ensemble_is_stored_with_its_weights_and_calibration(members: list[Path], tmp_path: Path) -> None:
    each = alone(members)
    stored = StoredEnsemble(
        tuple(
            StoredMember(str(folder), one.identity.sha256, weight)
            for folder, one, weight in zip(members, each, (0.75, 0.25), strict=True)
        ),
        Calibration(2.0, 0.1),
    )
    write_ensemble(tmp_path / "both", stored)
    found = load_models(tmp_path / "both", "cpu")
    wanted = Ensemble(each, [3, 1], Calibration(2.0, 0.1))
    np.testing.assert_array_equal(found(image()).probabilities.array, wanted(image()).probabilities.array)
    assert found.identity.name == "both"
    store_weights = members[1] / "model.safetensors"
    shutil.copy(members[0] / "model.safetensors", store_weights)
    with pytest.raises(InputError, match=r"json: was made with other weights than .*fold_1 has now"):
        load_models(tmp_path / "both", "cpu")
    shutil.rmtree(members[1])
    with pytest.raises(InputError, match=r"ensemble\.json: its member .*fold_1 is not there"):
        load_models(tmp_path / "both", "cpu")


def test_beside_others_an_ensembles_members_keep_their_weights_and_must_be_unchanged(
    members: list[Path], tmp_path: Path
) -> None:
    third = make_members(tmp_path / "third", 1)[0]
    each = alone(members)
    stored = [
        StoredMember(str(folder), one.identity.sha256, weight)
        for folder, one, weight in zip(members, each, (0.75, 0.25), strict=True)
    ]
    write_ensemble(tmp_path / "both", StoredEnsemble(tuple(stored), Calibration(2.0)))
    found = load_models([tmp_path / "both", third], "cpu")
    assert [one.weight for one in found.identity.members] == pytest.approx([0.5, 1 / 6, 1 / 3])
    shutil.copy(members[0] / "model.safetensors", members[1] / "model.safetensors")
    with pytest.raises(InputError, match=r"json: was made with other weights than .*fold_1 has now"):
        load_models([tmp_path / "both", third], "cpu")


def predicted(predictor: BasePredictor, tmp_path: Path, options: PredictOptions) -> Path:
    path, out = tmp_path / "a.nii.gz", tmp_path / "out"
    write_volume(path, image())
    predict_cases(predictor, find_inputs([path], 1, "yx"), out, options)
    return out


def test_the_record_names_all_members_and_how_they_agree(members: list[Path], tmp_path: Path) -> None:
    ensemble = loaded(*members)
    save = ("labels", "uncertainty", "samples")
    out = predicted(ensemble, tmp_path, PredictOptions(samples=4, save=save, max_memory=8))
    record = read_records(out).cases["a"]
    assert record.model == ensemble.identity
    assert [one.weight for one in record.model.members] == [0.5, 0.5]
    wanted = ensemble(image(), "a", samples=4)
    assert wanted.ensemble is not None
    assert record.ensemble == wanted.ensemble
    assert json.loads((out / "a_summary.json").read_text())["ensemble"]["pairwise_dice"].keys() == {
        "left",
        "right",
    }
    between = read_volume(out / "a_member_disagreement.nii.gz", "image", "yx").array
    assert wanted.member_disagreement is not None
    np.testing.assert_allclose(between, wanted.member_disagreement.array, atol=1e-6)
    assert sorted(path.name for path in out.glob("a_sample*")) == [f"a_sample{n}.nii.gz" for n in range(1, 5)]


def test_what_members_disagree_on_is_saved_once_and_refused_of_a_single_model(
    members: list[Path], tmp_path: Path
) -> None:
    options = PredictOptions(save=("uncertainty", "member_disagreement"))
    out = predicted(loaded(*members), tmp_path, options)
    assert read_records(out).cases["a"].files == (
        "a_summary.json",
        "a_uncertainty.nii.gz",
        "a_member_disagreement.nii.gz",
    )
    with pytest.raises(InputError, match="save is 'member_disagreement', and a single model has no members"):
        predicted(Predictor.load(members[0], "cpu"), tmp_path, options)


def test_files_of_members_that_were_calibrated_otherwise_do_not_stay(
    members: list[Path], tmp_path: Path
) -> None:
    """Their weights and the calibration of the mixture are the same."""
    out = predicted(loaded(*members), tmp_path, PredictOptions(samples=4, save=("labels", "samples")))
    calibration = Calibration(coherence=Coherence(8.0))
    store_calibration(members[0], calibration)
    cases = find_inputs([tmp_path / "a.nii.gz"], 1, "yx")
    predict_cases(loaded(*members), cases, out, PredictOptions(samples=4))
    assert not list(out.glob("a_sample*"))
    assert read_records(out).cases["a"].model.members[0].calibration == calibration


def test_harmonization_is_left_out_for_all_members(members: list[Path]) -> None:
    assert all(not one.plan.appearance for one in loaded(*members).without_harmonization().members)
