"""Images of another kind than those of training are told from them, their own kind is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from ldseg.app.cli.main import main
from ldseg.data.cases import Case
from ldseg.data.dataset import DataSet, open_dataset
from ldseg.data.formats import read_volume
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.evaluation.out_of_distribution_fit import ChangedImages, fit_and_store_detector, fit_detector
from ldseg.inference import tiled_tiff as large
from ldseg.inference.feature_statistics import Statistics
from ldseg.inference.out_of_distribution import (
    INVERTED,
    OTHER_KIND,
    Detector,
    Difference,
    describe_ways,
    store_detector,
    stored_detector,
)
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import read_plan, write_plan
from ldseg.runs.files import OUT_OF_DISTRIBUTION_FILE

MakeModel = Callable[..., Path]
SHAPE = (48, 40)


def gaussian_statistics(images: int, seed: int, shift: float = 0.0) -> list[Statistics]:
    """Of two levels, 2D, 5 and 3 channels."""
    random = np.random.default_rng(seed)
    return [tuple(random.normal(shift, 1, (4, channels)) for channels in (5, 3)) for _ in range(images)]


def turned(found: Statistics) -> Statistics:
    """With slopes along y of the other sign."""
    return tuple(level * np.array([1, 1, -1, 1])[:, None] for level in found)


def soft_picture(seed: int) -> np.ndarray:
    """Grey, brighter below."""
    soft = gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 2)
    slope = np.linspace(-1, 1, SHAPE[0])[:, None]
    return (120 + 25 * soft / soft.std() + 40 * slope).clip(0, 255).astype(np.uint8)


def striped_picture(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    stripes = 60 * np.sin(np.arange(SHAPE[1]) * 1.5) * np.ones((SHAPE[0], 1))
    return (128 + stripes + random.normal(0, 5, SHAPE)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def dataset(tmp_path: Path) -> DataSet:
    """Thirty soft pictures; what their masks say does not matter."""
    for name in ("images", "labels"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for seed in range(30):
        Image.fromarray(soft_picture(seed)).save(tmp_path / "data" / "images" / f"case{seed:02d}.png")
        mask = np.zeros(SHAPE, np.uint8)
        mask[10:20, 10:20] = 2
        Image.fromarray(mask).save(tmp_path / "data" / "labels" / f"case{seed:02d}.png")
    return open_dataset(tmp_path / "data")


@pytest.fixture
def model(make_model: MakeModel, dataset: DataSet) -> Path:
    """A model that knows them."""
    folder = make_model(patch=48)
    fit_and_store_detector(folder, Predictor.load(folder, "cpu"), dataset, dataset.cases)
    return folder


def picture(folder: Path, name: str, pixels: np.ndarray) -> Volume:
    Image.fromarray(pixels).save(folder / f"{name}.png")
    return read_volume(folder / f"{name}.png", "image")


def test_images_from_elsewhere_lie_beyond_the_limit_and_others_within() -> None:
    detector = fit_detector(gaussian_statistics(200, 0), {})
    near = [detector.judge(one) for one in gaussian_statistics(50, 1)]
    far = [detector.judge(one) for one in gaussian_statistics(50, 2, shift=4)]
    assert sum(one.ways == (OTHER_KIND,) for one in near) <= 1
    assert all(one.ways == (OTHER_KIND,) and one.distance > 1 for one in far)


def test_flipped_images_are_told_where_flipping_shows() -> None:
    own = [tuple(level + 2 for level in one) for one in gaussian_statistics(100, 0)]
    flipped = {"flipped along y": ChangedImages(tuple(turned(one) for one in own), (0,))}
    detector = fit_detector(own, flipped)
    new = [tuple(level + 2 for level in one) for one in gaussian_statistics(20, 1)]
    assert all("flipped along y" in detector.judge(turned(one)).ways for one in new)
    assert not any("flipped along y" in detector.judge(one).ways for one in new)


def test_a_training_image_that_lies_flipped_does_not_hide_the_others() -> None:
    own = [tuple(level + 2 for level in one) for one in gaussian_statistics(100, 0)]
    flipped = {"flipped along y": ChangedImages(tuple(turned(one) for one in own), (0,))}
    odd = [tuple(0.6 * one + 0.4 * other for one, other in zip(a, turned(a), strict=True)) for a in own[:3]]
    detector = fit_detector([*own[3:], *odd], flipped)
    new = [tuple(level + 2 for level in one) for one in gaussian_statistics(20, 1)]
    assert all("flipped along y" in detector.judge(turned(one)).ways for one in new)


def test_flipped_images_are_not_told_where_flipping_does_not_show() -> None:
    own = gaussian_statistics(100, 0)
    flipped = {"flipped along y": ChangedImages(tuple(turned(one) for one in own), (0,))}
    assert fit_detector(own, flipped).changes == ()


def test_confidence_falls_without_a_step() -> None:
    values = [Difference(1, (), excess).lowered(0.9) for excess in (1.0, 1.001, 1.5, 2.0)]
    assert values[0] == 0.9
    assert values == sorted(values, reverse=True)
    assert values[1] > 0.89
    assert values[3] < 0.1


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    own = [tuple(level + 2 for level in one) for one in gaussian_statistics(60, 0)]
    flipped = {"flipped along y": ChangedImages(tuple(turned(one) for one in own), (0,))}
    detector = fit_detector(own, flipped)
    store_detector(tmp_path, detector, "hash")
    found = stored_detector(tmp_path, "hash")
    assert found is not None
    for one in gaussian_statistics(5, 3):
        assert found.judge(one) == detector.judge(one)
    assert (tmp_path / OUT_OF_DISTRIBUTION_FILE).stat().st_size < 20_000


def test_a_file_for_other_weights_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    store_detector(tmp_path, fit_detector(gaussian_statistics(20, 0), {}), "hash")
    with pytest.raises(InputError, match="was fitted on other weights"):
        stored_detector(tmp_path, "other")
    content = (tmp_path / OUT_OF_DISTRIBUTION_FILE).read_bytes()
    for damaged in (content[:-40], b"", content.replace(b"level0.mean", b"level9.mean")):
        (tmp_path / OUT_OF_DISTRIBUTION_FILE).write_bytes(damaged)
        with pytest.raises(InputError, match=f"{OUT_OF_DISTRIBUTION_FILE}: .*run `ldseg calibrate` again"):
            stored_detector(tmp_path, "hash")


def test_features_of_another_model_are_refused() -> None:
    detector = fit_detector(gaussian_statistics(20, 0), {})
    with pytest.raises(InputError, match="made for another model"):
        detector.judge(gaussian_statistics(1, 0)[0][:1])


def test_few_images_say_nothing_and_an_old_file_goes(make_model: MakeModel, dataset: DataSet) -> None:
    folder = make_model()
    store_detector(folder, fit_detector(gaussian_statistics(20, 0), {}), "hash")
    predictor = Predictor.load(folder, "cpu", calibrated=False)
    assert fit_and_store_detector(folder, predictor, dataset, dataset.cases[:9]) is None
    assert not (folder / OUT_OF_DISTRIBUTION_FILE).exists()
    assert Predictor.load(folder, "cpu").detector is None


def test_what_was_stored_stays_where_a_case_cannot_be_read(
    make_model: MakeModel, dataset: DataSet, tmp_path: Path
) -> None:
    folder = make_model()
    predictor = Predictor.load(folder, "cpu")
    store_detector(folder, fit_detector(gaussian_statistics(20, 0), {}), predictor.identity.sha256)
    cases = [*dataset.cases[:9], Case("gone", (tmp_path / "gone.png",), (), "gone")]
    with pytest.raises(InputError, match="gone"):
        fit_and_store_detector(folder, predictor, dataset, cases)
    assert Predictor.load(folder, "cpu").detector is not None


@pytest.mark.parametrize("baseline, knows", [("none", True), ("unet", True), ("pixel_diffusion", False)])
def test_every_model_with_an_image_encoder_learns(
    make_model: MakeModel, dataset: DataSet, baseline: str, knows: bool
) -> None:
    folder = make_model(baseline=baseline)
    found = fit_and_store_detector(folder, Predictor.load(folder, "cpu"), dataset, dataset.cases[:12])
    assert (found is not None) == knows
    assert (Predictor.load(folder, "cpu").detector is not None) == knows


def test_a_prediction_says_of_which_kind_the_image_is(model: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(model, "cpu")
    own, other = soft_picture(99), striped_picture(99)
    pictures = {"own": own, "other": other, "flipped": own[::-1].copy(), "inverted": 255 - own}
    found = {name: predictor(picture(tmp_path, name, pixels), name) for name, pixels in pictures.items()}
    assert found["own"].out_of_distribution == ()
    assert (found["own"].distance or 2) < 1
    assert OTHER_KIND in found["other"].out_of_distribution
    assert (found["other"].distance or 0) > 1
    assert "flipped along y" in found["flipped"].out_of_distribution
    assert INVERTED in found["inverted"].out_of_distribution


def test_what_is_found_changes_the_confidence_alone(model: Path, tmp_path: Path) -> None:
    knowing = Predictor.load(model, "cpu")
    plain = Predictor(knowing.plan, knowing.settings, knowing.backend)
    for name, pixels, lower in (("own", soft_picture(99), False), ("other", striped_picture(99), True)):
        volume = picture(tmp_path, name, pixels)
        mine, theirs = knowing(volume, name), plain(volume, name)
        np.testing.assert_array_equal(mine.probabilities.array, theirs.probabilities.array)
        assert (mine.confidence < theirs.confidence) == lower
        assert (theirs.distance, theirs.out_of_distribution) == (None, ())


def test_the_distance_depends_neither_on_samples_nor_on_views(model: Path, tmp_path: Path) -> None:
    plan = read_plan(model / "plan.json")
    write_plan(model / "plan.json", replace(plan, mirror_axes=(1,)))
    predictor = Predictor.load(model, "cpu")
    volume = picture(tmp_path, "other", striped_picture(99))
    ways = ({"samples": 1}, {"samples": 3, "steps": 2}, {"samples": 1, "tta": False})
    distances = [predictor(volume, "other", **way).distance for way in ways]  # type: ignore[arg-type]
    assert distances == pytest.approx([distances[0]] * 3, rel=1e-5)


def test_the_command_names_images_of_another_kind(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path, "stripes", striped_picture(99))
    words = ["predict", str(tmp_path / "stripes.png"), "-m", str(model), "--device", "cpu"]
    assert main([*words, "-o", str(tmp_path / "a"), "--save", "labels,uncertainty"]) == 0
    assert "is of another kind than the training images" in capsys.readouterr().out
    summary = json.loads((tmp_path / "a" / "stripes_summary.json").read_text())
    assert OTHER_KIND in summary["out_of_distribution"]
    assert summary["distance_from_training"] > 1
    record = json.loads((tmp_path / "a" / "prediction.json").read_text())["cases"]["stripes"]
    assert OTHER_KIND in record["out_of_distribution"]
    assert main([*words, "-o", str(tmp_path / "b"), "--json"]) == 0
    assert OTHER_KIND in json.loads(capsys.readouterr().out)["out_of_distribution"]["stripes"]


def test_a_training_ends_with_it_and_calibrating_fits_it_again(dataset: DataSet, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["--training.steps", "1", "--training.validations", "1", "--device", "cpu"]
    assert main(["train", str(dataset.root), "-o", str(run), *words]) == 0
    assert Predictor.load(run, "cpu").detector is not None
    (run / OUT_OF_DISTRIBUTION_FILE).unlink()
    assert main(["calibrate", str(run), "--samples", "1", "--device", "cpu"]) == 0
    assert Predictor.load(run, "cpu").detector is not None


def test_a_large_image_has_the_same_distance_as_in_memory(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.tile(striped_picture(1), (3, 3))).save(tmp_path / "a.tif")
    found: list[float] = []
    for name, least in (("memory", large.LARGE), ("regions", 100)):
        monkeypatch.setattr(large, "LARGE", least)
        words = ["predict", str(tmp_path / "a.tif"), "-m", str(model), "--device", "cpu"]
        assert main([*words, "-o", str(tmp_path / name), "--save", "uncertainty"]) == 0
        summary = json.loads((tmp_path / name / "a_summary.json").read_text())
        assert OTHER_KIND in summary["out_of_distribution"]
        found.append(summary["distance_from_training"])
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_ways_are_told_in_words() -> None:
    told = describe_ways((OTHER_KIND, "flipped along y", INVERTED))
    assert "is of another kind than the training images" in told
    assert "flipped along y" in told
    assert "inverted" in told


def test_one_subject_of_many_images_does_not_hide_behind_itself() -> None:
    random = np.random.default_rng(0)
    subjects = [random.normal(0, 1, (4, 6)) for _ in range(20)]
    own = [(subject + random.normal(0, 0.05, (4, 6)),) for subject in subjects for _ in range(5)]
    detector: Detector = fit_detector(own, {})
    new = [(random.normal(0, 1, (4, 6)),) for _ in range(40)]
    assert sum(detector.distance(one) > 1 for one in new) <= 4
