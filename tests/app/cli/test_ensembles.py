"""The commands take a run with folds, or several models, as an ensemble."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldseg.api import plan_run, train_run
from ldseg.app.cli.main import main
from ldseg.app.viewer.model_source import ModelSource
from ldseg.app.viewer.session import Session
from ldseg.data.formats import read_volume
from ldseg.data.splits import read_splits
from ldseg.inference.ensemble import Ensemble
from ldseg.inference.ensemble_files import load_models
from ldseg.planning.plan import write_plan
from ldseg.runs.run_setup import SplitOptions
from ldseg.training import checkpoint

Output = pytest.CaptureFixture[str]
QUICK = {"training": {"steps": 2, "validations": 1, "calibrate": False, "batch": 2, "precision": "fp32"}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a run of two folds with a test part, and an image."""
    root = tmp_path_factory.mktemp("ensemble")
    for name in ("images", "masks"):
        (root / "data" / name).mkdir(parents=True)
    for number in range(10):
        rng = np.random.default_rng(number)
        mask = np.zeros((32, 32), np.uint8)
        top, left = rng.integers(4, 16, 2)
        mask[top : top + 10, left : left + 10] = 1
        image = (100 * mask + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        for folder, pixels in (("images", image), ("masks", mask)):
            Image.fromarray(pixels).save(root / "data" / folder / f"c{number}.png")
    plan = plan_run(root / "data", root / "run", split=SplitOptions(folds=2, test_fraction=0.2))
    small = replace(plan, widths=tuple(8 for _ in plan.widths), latent_channels=4)
    write_plan(root / "run" / "plan.json", small)
    train_run(root / "data", root / "run", device="cpu", changes=QUICK, folds=2)
    return root


def run(*words: object) -> int:
    return main([*map(str, words), "--device", "cpu"])


def test_predict_mixes_the_folds_of_a_run(world: Path, tmp_path: Path, capsys: Output) -> None:
    image, out = world / "data" / "images" / "c0.png", tmp_path / "out"
    words = ("predict", image, "-m", world / "run", "-o", out, "--samples", 4, "--save", "labels,uncertainty")
    assert run(*words, "--json") == 0
    record = json.loads(capsys.readouterr().out)["cases"]["c0"]
    assert [one["name"] for one in record["model"]["members"]] == ["fold_0", "fold_1"]
    (dice,) = record["ensemble"]["pairwise_dice"].values()
    assert 0 <= dice <= 1
    assert (out / "c0_member_disagreement.tif").is_file()
    wanted = load_models(world / "run", "cpu")(image, samples=4)
    np.testing.assert_array_equal(read_volume(out / "c0.png", "labels").array, wanted.labels.array)


def test_more_samples_than_asked_for_are_announced(world: Path, tmp_path: Path, capsys: Output) -> None:
    image = world / "data" / "images" / "c0.png"
    assert run("predict", image, "-m", world / "run", "-o", tmp_path / "out", "--samples", 3) == 0
    assert "draws at least 2: there are 4 samples, not 3" in capsys.readouterr().err


def test_folds_that_are_missing_or_interrupted_are_announced(
    world: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder, image = tmp_path / "run", world / "data" / "images" / "c0.png"
    shutil.copytree(world / "run", run_folder)
    (run_folder / "fold_1" / "model.safetensors").unlink()
    counters = checkpoint.read_counters(run_folder / "fold_0")
    assert counters is not None
    with monkeypatch.context() as change:
        change.setattr(checkpoint, "read_counters", lambda _: replace(counters, finished=False))
        assert run("predict", image, "-m", run_folder, "-o", tmp_path / "out") == 0
    said = capsys.readouterr().err
    resume = f"ldseg train DATA -o {run_folder} --resume"
    assert f"{run_folder / 'fold_0'}: its training has not ended (step 2); end it with {resume}" in said
    assert f"{run_folder}: 1 of 2 folds predict, the others are not trained; train them with {resume}" in said
    assert run("predict", image, "-m", world / "run", "-o", tmp_path / "out") == 0
    assert "ended" not in capsys.readouterr().err


def test_predict_mixes_several_models(world: Path, tmp_path: Path) -> None:
    image, folds = world / "data" / "images" / "c0.png", (world / "run" / "fold_0", world / "run" / "fold_1")
    assert run("predict", image, "-m", folds[0], "-m", folds[1], "-o", tmp_path / "both") == 0
    assert run("predict", image, "-m", world / "run", "-o", tmp_path / "run") == 0
    one, other = (read_volume(tmp_path / name / "c0.png", "labels").array for name in ("both", "run"))
    np.testing.assert_array_equal(one, other)


def test_a_part_of_one_members_split_is_none_of_an_ensemble(
    world: Path, tmp_path: Path, capsys: Output
) -> None:
    words = ("predict", world / "data", "-m", world / "run", "-o", tmp_path / "out", "--part")
    assert run(*words, "validation") == 2
    assert "members of an ensemble have parts of their own; choose test" in capsys.readouterr().err
    assert run(*words, "test") == 0
    test = read_splits(world / "run" / "splits.json").test
    assert {path.stem for path in (tmp_path / "out").glob("*.png")} == set(test)


def test_the_report_of_an_ensemble_is_on_the_test_part(world: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run("report", world / "run", "-o", page, "--samples", 4, "--steps", 2) == 0
    assert "test" in page.read_text()


def test_robustness_of_an_ensemble_is_measured(world: Path, tmp_path: Path, capsys: Output) -> None:
    words = ("robustness", world / "data", "-m", world / "run", "-o", tmp_path / "out")
    assert run(*words, "--corruptions", "blur", "--json") == 0
    weights = json.loads(capsys.readouterr().out)["setup"]["weights"]
    assert weights == load_models(world / "run", "cpu").identity.sha256


def test_the_viewer_shows_an_ensemble(world: Path) -> None:
    ensemble = load_models(world / "run", "cpu")
    image = read_volume(world / "data" / "images" / "c0.png", "image")
    sampling = ensemble.posterior_sampling(steps=2, samples=4)
    session = Session(ModelSource(ensemble, sampling, 0), image, "c0", "c0.png")
    assert session.prediction.samples == 4
    assert session.draw_more()
    session.wait()
    assert session.prediction.samples == 8


def test_folds_of_which_one_is_trained_are_exported_as_that_one(
    world: Path, tmp_path: Path, capsys: Output
) -> None:
    run = tmp_path / "run"
    shutil.copytree(world / "run", run)
    shutil.rmtree(run / "fold_1")
    assert main(["export", str(run), "--format", "onnx", "-o", str(tmp_path / "out")]) == 2
    assert f"export that one, {run / 'fold_0'}" in capsys.readouterr().err


def test_an_exported_ensemble_predicts_as_its_models_do(world: Path, tmp_path: Path, capsys: Output) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    image, out = world / "data" / "images" / "c0.png", tmp_path / "onnx"
    assert main(["export", str(world / "run"), "--format", "onnx", "-o", str(out)]) == 0
    assert "1-fold_1: translating it to ONNX" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["0-fold_0", "1-fold_1", "ensemble.json"]
    assert run("predict", image, "-m", out, "-o", tmp_path / "c") == 2
    assert f"{out / '0-fold_0'}: is an exported model" in capsys.readouterr().err
    save = ("--save", "probabilities")
    assert run("predict", image, "-m", out, "--runtime", "onnx", "-o", tmp_path / "a", *save) == 0
    assert run("predict", image, "-m", world / "run", "-o", tmp_path / "b", *save) == 0
    one, other = (read_volume(tmp_path / name / "c0_probabilities.tif", "image").array for name in "ab")
    np.testing.assert_allclose(one, other, atol=1e-3)
    assert run("predict", image, "-m", out, "--runtime", "onnx", "-o", tmp_path / "d", "--samples", 4) == 2
    remedy = "leave out --samples, or export the model again with --samples 4"
    assert f"samples is 4, the graph was made with 1; {remedy}" in capsys.readouterr().err
    assert main(["export", str(world / "run"), "--format", "monai-bundle", "-o", str(tmp_path / "c")]) == 2
    assert "is an ensemble, and a bundle holds one model" in capsys.readouterr().err


def test_python_loads_the_same_ensemble(world: Path) -> None:
    of_run, named = (
        load_models(world / "run", "cpu"),
        load_models([world / "run" / "fold_0", world / "run" / "fold_1"], "cpu"),
    )
    assert isinstance(of_run, Ensemble)
    assert of_run.identity.sha256 == named.identity.sha256
