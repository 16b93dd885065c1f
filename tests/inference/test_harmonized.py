"""Images unlike those of training are named, and segmented as the training images are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from ldseg.app.cli.main import main
from ldseg.app.viewer.model_source import ModelSource
from ldseg.app.viewer.session import Session
from ldseg.app.viewer.state import describe
from ldseg.data.formats import read_volume
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import read_plan, write_plan
from ldseg.preprocessing.intensity_statistics import measure_intensity_statistics
from ldseg.preprocessing.preprocess import preprocess_image
from ldseg.settings import SamplingSettings

MakeModel = Callable[..., Path]


def write_picture(path: Path, seed: int, noise: float = 0.0) -> Path:
    random = np.random.default_rng(seed)
    soft = ndimage.gaussian_filter(random.standard_normal((48, 40)), 2)
    grey = 120 + 40 * soft / soft.std() + noise * random.standard_normal(soft.shape)
    Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def model(make_model: MakeModel, tmp_path: Path) -> Path:
    """A model that knows what twenty soft pictures look like."""
    folder = make_model()
    plan = read_plan(folder / "plan.json")
    paths = (write_picture(tmp_path / f"t{seed}.png", seed) for seed in range(20))
    seen = (preprocess_image(read_volume(path, "image"), plan).array for path in paths)
    write_plan(folder / "plan.json", replace(plan, appearance=measure_intensity_statistics(seen, plan)))
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A soft one and a noisy one."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_picture(folder / "soft.png", 99)
    write_picture(folder / "noisy.png", 99, noise=40)
    return folder


def let_harmonizing_help(monkeypatch: pytest.MonkeyPatch, helps: bool) -> None:
    """The model is not trained, and its answers say nothing about the image."""
    monkeypatch.setattr("ldseg.inference.predictor.agrees_better", lambda *_: helps)


def test_an_image_whose_answers_agree_no_better_is_named_and_segmented_as_it_is(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_harmonizing_help(monkeypatch, False)
    predictor = Predictor.load(model, "cpu")
    volume = read_volume(pictures / "noisy.png", "image")
    found, plain = predictor(volume, "noisy"), predictor.without_harmonization()(volume, "noisy")
    assert (found.out_of_distribution, found.harmonized) == (("noisier",), False)
    assert "segmented as it is" in " ".join(found.notes)
    np.testing.assert_array_equal(found.probabilities.array, plain.probabilities.array)


def test_an_image_unlike_those_of_training_is_segmented_otherwise(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_harmonizing_help(monkeypatch, True)
    predictor = Predictor.load(model, "cpu")
    for name, unlike in (("soft", ()), ("noisy", ("noisier",))):
        volume = read_volume(pictures / f"{name}.png", "image")
        found, plain = predictor(volume, name), predictor.without_harmonization()(volume, name)
        assert (found.out_of_distribution, plain.out_of_distribution) == (unlike, ())
        assert found.harmonized == bool(unlike)
        assert np.array_equal(found.probabilities.array, plain.probabilities.array) == (not unlike)


def test_the_command_names_images_unlike_those_of_training(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(pictures), "-m", str(model), "--device", "cpu"]
    assert main([*words, "-o", str(tmp_path / "a"), "--save", "labels,uncertainty"]) == 0
    assert "noisy: is noisier than the training images" in capsys.readouterr().out
    assert json.loads((tmp_path / "a" / "noisy_summary.json").read_text())["out_of_distribution"] == [
        "noisier"
    ]
    record = json.loads((tmp_path / "a" / "prediction.json").read_text())["cases"]["noisy"]
    assert record["settings"]["harmonize"] is True
    assert record["out_of_distribution"] == ["noisier"]
    assert main([*words, "-o", str(tmp_path / "b"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out_of_distribution"] == {"noisy": ["noisier"]}


def test_images_are_taken_as_they_are_where_that_is_asked_for(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["predict", str(pictures), "-m", str(model), "-o", str(out), "--device", "cpu"]
    assert main([*words, "--harmonize", "false", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out_of_distribution"] == {}
    record = json.loads((out / "prediction.json").read_text())["cases"]["noisy"]
    assert record["settings"]["harmonize"] is False


def test_the_viewer_says_that_an_image_was_brought_nearer(model: Path, pictures: Path) -> None:
    predictor = Predictor.load(model, "cpu")
    for name, unlike in (("soft", ()), ("noisy", ("noisier",))):
        volume = read_volume(pictures / f"{name}.png", "image")
        source = ModelSource(predictor, SamplingSettings("ddim", 2, 2), 0)
        session = Session(source, volume, name, name)
        assert describe(session)["unlike"] == unlike
        assert np.array_equal(session.image.array, volume.array)
