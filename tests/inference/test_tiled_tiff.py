"""A TIFF read by regions is segmented as one held in memory, and never held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tiny_models import know_soft_pictures

from ldseg.data.formats import read_volume
from ldseg.data.formats.tiff_regions import TiffRegions
from ldseg.data.inputs import find_inputs
from ldseg.errors import InputError
from ldseg.inference import tiled_tiff as large
from ldseg.inference.decision import Decision
from ldseg.inference.predict_cases import PredictOptions, predict_cases
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import Plan
from ldseg.preprocessing.lazy_image import LazyImage
from ldseg.preprocessing.preprocess import preprocess_image

MakeModel = Callable[..., Path]
SAVE = ("labels", "probabilities", "uncertainty", "samples")


def write_colour(path: Path, shape: tuple[int, int]) -> Path:
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    tifffile.imwrite(path, picture, photometric="rgb", tile=(32, 32), compression="zlib")
    return path


@pytest.mark.parametrize("decision", ["argmax", "expected-dice"])
@pytest.mark.parametrize("shape", [(70, 45), (33, 150)])
def test_a_large_image_is_segmented_as_in_memory(
    make_model: MakeModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, int],
    decision: Decision,
) -> None:
    """Longer than wide and wider than long: tiles are worked off along either axis."""
    predictor = Predictor.load(make_model(channels=3), "cpu")
    cases = find_inputs([write_colour(tmp_path / "a.tif", shape)], 3, "yx")
    options = PredictOptions(samples=2, save=SAVE, decision=decision)
    usual = predict_cases(predictor, cases, tmp_path / "usual", options)
    monkeypatch.setattr(large, "LARGE", 100)
    monkeypatch.setattr(large, "_PLANES", 50)
    regions = predict_cases(predictor, cases, tmp_path / "regions", options)
    names = [path.name for path in usual.done["a"]]
    assert [path.name for path in regions.done["a"]] == names
    assert sorted(path.name for path in (tmp_path / "regions").iterdir()) == sorted(
        [*names, "plan.json", "prediction.json"]
    )
    for one, other in zip(usual.done["a"], regions.done["a"], strict=True):
        if one.suffix == ".tif":
            mine, theirs = read_volume(other, "image"), read_volume(one, "image")
            np.testing.assert_allclose(mine.array, theirs.array, atol=1e-4)
            assert (mine.spacing, mine.stored) == (theirs.spacing, theirs.stored)


def test_a_large_image_that_is_unlike_those_of_training_is_segmented_as_in_memory(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(channels=3)
    know_soft_pictures(folder, (70, 45))
    monkeypatch.setattr("ldseg.inference.predictor.agrees_better", lambda *_: True)
    predictor = Predictor.load(folder, "cpu")
    cases = find_inputs([write_colour(tmp_path / "a.tif", (70, 45))], 3, "yx")
    options = PredictOptions(save=("probabilities",))
    usual = predict_cases(predictor, cases, tmp_path / "usual", options)
    as_it_is = predict_cases(predictor.without_harmonization(), cases, tmp_path / "as_it_is", options)
    monkeypatch.setattr(large, "LARGE", 100)
    regions = predict_cases(predictor, cases, tmp_path / "regions", options)
    assert "noisier" in usual.out_of_distribution["a"]
    assert regions.out_of_distribution == usual.out_of_distribution
    mine, theirs, plain = (read_volume(one.done["a"][0], "image").array for one in (regions, usual, as_it_is))
    np.testing.assert_allclose(mine, theirs, atol=1e-3)
    assert not np.allclose(mine, plain, atol=1e-3)


def test_only_regions_are_read(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 0
    usual = TiffRegions.read

    def read(self: TiffRegions, region: Sequence[slice]) -> Any:
        nonlocal largest
        found = usual(self, region)
        largest = max(largest, found[0].size)
        return found

    def refuse(*arguments: Any, **more: Any) -> Any:
        raise AssertionError(f"read whole: {arguments} {more}")

    monkeypatch.setattr(large, "LARGE", 100)
    monkeypatch.setattr(TiffRegions, "read", read)
    monkeypatch.setattr("ldseg.inference.predict_cases.load_input", refuse)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", refuse)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", refuse)
    predictor = Predictor.load(make_model(channels=3), "cpu")
    plan = replace(
        predictor.plan,
        channels=tuple(replace(c, scheme="range", high=255.0) for c in predictor.plan.channels),
    )
    predictor = Predictor(plan, predictor.settings, predictor.backend)
    cases = find_inputs([write_colour(tmp_path / "a.tif", (200, 150))], 3, "yx")
    predict_cases(predictor, cases, tmp_path / "out", PredictOptions(samples=1))
    assert 0 < largest <= 128 * 150  # a band of rows, for the look at all numbers


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.3), (2.0, 0.4)])
@pytest.mark.parametrize("scheme", ["zscore", "range", "unit"])
def test_regions_are_prepared_as_the_whole_is(
    a_plan: Plan, tmp_path: Path, spacing: tuple[float, float], scheme: Any
) -> None:
    path = write_colour(tmp_path / "a.tif", (90, 61))
    channels = tuple(replace(a_plan.channels[0], name=n, scheme=scheme, high=255.0) for n in "rgb")
    plan = replace(a_plan, channels=channels)
    whole = preprocess_image(replace(read_volume(path, "image"), spacing=spacing, physical=True), plan)
    lazy = LazyImage(TiffRegions(path, 3, spacing), plan, "a.tif")
    assert lazy.grid == whole.grid
    for corner in ((0, 0), (8, 16), (40, 12), (60, 4)):
        np.testing.assert_allclose(lazy.read(corner, (16, 16)), whole.read(corner, (16, 16)), atol=1e-4)


def test_small_images_volumes_and_other_formats_are_held(tmp_path: Path) -> None:
    case = find_inputs([write_colour(tmp_path / "a.tif", (20, 20))], 3, "yx")[0]
    assert not large.is_large(case, "yx")
    assert not large.is_large(case, "zyx")
    assert not large.is_large(replace(case, images=(tmp_path / "a.png",)), "yx")


def test_a_large_image_of_16_bits_is_prepared_as_one_of_8(make_model: MakeModel, tmp_path: Path) -> None:
    plan = Predictor.load(make_model(channels=3), "cpu").plan
    plan = replace(plan, channels=tuple(replace(c, scheme="range", high=255.0) for c in plan.channels))
    picture = tifffile.imread(write_colour(tmp_path / "u8.tif", (40, 30)))
    picture[0, 0] = 255
    tifffile.imwrite(tmp_path / "u8.tif", picture, photometric="rgb")
    tifffile.imwrite(tmp_path / "u16.tif", picture.astype(np.uint16) * 257, photometric="rgb")
    images = [
        LazyImage(TiffRegions(tmp_path / f"{name}.tif", 3), plan, f"{name}.tif") for name in ("u8", "u16")
    ]
    mine, theirs = (image.read((0, 0), (40, 30)) for image in images)
    np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert images[0].notes == ()
    assert "16 bits" in images[1].notes[0]


def test_a_large_image_of_one_value_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    plan = Predictor.load(make_model(channels=3), "cpu").plan
    tifffile.imwrite(tmp_path / "black.tif", np.zeros((40, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match=r"black\.tif: has one value \(0\) in all its voxels"):
        LazyImage(TiffRegions(tmp_path / "black.tif", 3), plan, "black.tif")
