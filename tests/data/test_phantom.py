"""The phantom: seeded, exact in every frame, speckled as ultrasound is, and read as a data set."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ldseg.data.checks import check
from ldseg.data.dataset import load_image, load_labels, open_dataset
from ldseg.data.formats import read_volume
from ldseg.data.phantom import (
    APPENDAGES,
    CLASSES,
    SHAPES,
    make_ambiguous_phantom,
    make_phantom,
    write_phantom_dataset,
)
from ldseg.data.volume import Axes

ALL: list[tuple[Axes, tuple[int, ...]]] = [("yx", (64, 80)), ("zyx", (20, 40, 44)), ("tyx", (8, 64, 56))]


@pytest.mark.parametrize("axes, shape", ALL)
def test_the_same_seed_gives_the_same_voxels(axes: Axes, shape: tuple[int, ...]) -> None:
    image, labels = make_phantom(axes, shape, 5)
    assert (image.axes, image.shape, labels.shape) == (axes, shape, shape)
    again = make_phantom(axes, shape, 5)
    np.testing.assert_array_equal(image.array, again[0].array)
    np.testing.assert_array_equal(labels.array, again[1].array)
    assert not np.array_equal(image.array, make_phantom(axes, shape, 6)[0].array)
    assert image.array.min() == 0
    assert image.array.max() == 255
    assert set(np.unique(labels.array)) == set(CLASSES.values())


@pytest.mark.parametrize("axes, shape", ALL)
@pytest.mark.parametrize("seed", range(4))
def test_the_cavity_lies_within_the_wall_and_all_of_it_in_the_image(
    axes: Axes, shape: tuple[int, ...], seed: int
) -> None:
    phantom = make_ambiguous_phantom(axes, shape, seed)
    for frame in phantom.labels_with(1).array[0] if axes == "tyx" else phantom.labels_with(1).array:
        cavity, outside = frame == CLASSES["cavity"], frame == 0
        for axis in range(frame.ndim):
            assert not (np.delete(cavity, 0, axis) & np.delete(outside, -1, axis)).any()
            assert not (np.delete(cavity, -1, axis) & np.delete(outside, 0, axis)).any()
            assert outside.take([0, -1], axis).all()


def test_the_cavity_beats_and_the_wall_keeps_its_area() -> None:
    _, labels = make_phantom("tyx", (12, 96, 96), 1)
    cavity = (labels.array[0] == CLASSES["cavity"]).sum((1, 2))
    wall = (labels.array[0] == CLASSES["wall"]).sum((1, 2))
    assert cavity.argmin() == 6
    assert all(a >= b for a, b in pairwise(cavity[:7]))
    assert all(a <= b for a, b in pairwise(cavity[6:]))
    assert cavity[6] < 0.6 * cavity[0]
    assert wall.max() - wall.min() < 0.04 * wall.mean()


def test_the_structures_can_be_told_apart_in_the_image() -> None:
    image, labels = make_phantom("yx", (96, 96), 2)
    brightness = [float(image.array[labels.array == label].mean()) for label in (0, 1, 2)]
    assert brightness[1] > brightness[0] + 20 > brightness[2] + 40


def test_the_speckle_is_rayleigh_distributed() -> None:
    """Magnitude of mean over deviation 1.91 in a uniform region, here of the background near the surface."""
    image, labels = make_phantom("zyx", (24, 96, 96), 3)
    region = (labels.array[0] == 0) & (np.arange(96)[:, None] < 16)
    magnitude = 10 ** (image.array[0][region] / 255 * 50 / 20)
    assert magnitude.mean() / magnitude.std() == pytest.approx(1.91, abs=0.2)


def test_tissue_moves_with_its_speckle() -> None:
    """Frames at equal phase of the beat look alike, those in between do not."""
    image, _ = make_phantom("tyx", (8, 64, 64), 4)
    frames = image.array[0].reshape(8, -1)
    assert np.corrcoef(frames[1], frames[7])[0, 1] > 0.999
    assert np.corrcoef(frames[0], frames[4])[0, 1] < 0.9


@pytest.mark.parametrize("axes", ["yx", "zyx", "tyx"])
def test_a_written_set_opens_and_passes_the_checks(tmp_path: Path, axes: Axes) -> None:
    shape = {"yx": (32, 40), "zyx": (8, 32, 32), "tyx": (3, 32, 32)}[axes]
    write_phantom_dataset(tmp_path, axes, cases=3, seed=1, shape=shape)
    dataset = open_dataset(tmp_path)
    assert (len(dataset.cases), dataset.axes, dataset.classes) == (3, axes, CLASSES)
    assert check(dataset).faults == ()
    image, (labels,) = load_image(dataset, dataset.cases[1]), load_labels(dataset, dataset.cases[1])
    assert image.shape == labels.shape == shape
    assert set(np.unique(labels.array)) == {0, 1, 2}
    assert not (tmp_path / APPENDAGES).exists()


def test_raters_include_the_appendage_in_the_share_asked_for(tmp_path: Path) -> None:
    write_phantom_dataset(tmp_path, "yx", cases=10, seed=2, raters=2, disagreement=0.3, shape=(32, 32))
    dataset = open_dataset(tmp_path)
    votes = []
    for case in dataset.cases:
        region = read_volume(tmp_path / APPENDAGES / f"{case.name}.png", "labels", "yx").array > 0
        masks = load_labels(dataset, case)
        assert len(masks) == 2
        included = [np.unique(mask.array[region]).tolist() for mask in masks]
        assert all(found in ([0], [1]) for found in included)  # all of it or nothing
        votes += [found == [1] for found in included]
        assert np.array_equal(masks[0].array[~region], masks[1].array[~region])
    assert sum(votes) == 6


def test_of_two_exclusive_appendages_each_mask_has_one_and_a_share_of_them_the_first(tmp_path: Path) -> None:
    write_phantom_dataset(tmp_path, "yx", 10, 2, raters=2, disagreement=0.3, shape=(32, 32), exclusive=True)
    dataset = open_dataset(tmp_path)
    chosen = []
    for case in dataset.cases:
        numbers = read_volume(tmp_path / APPENDAGES / f"{case.name}.png", "labels", "yx").array
        for mask in load_labels(dataset, case):
            included = [number for number in (1, 2) if (mask.array[numbers == number] == 1).all()]
            assert (mask.array[numbers > 0] == 0).any()
            assert len(included) == 1
            chosen += included
    assert chosen.count(1) == 6


@pytest.mark.parametrize("seed", range(5))
def test_the_first_of_two_appendages_is_the_lower_one(seed: int) -> None:
    numbers = make_ambiguous_phantom("yx", (64, 64), seed, appendages=2).appendages

    assert np.nonzero(numbers == 1)[0].mean() > np.nonzero(numbers == 2)[0].mean()


def test_exclusive_appendages_without_a_share_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need a disagreement"):
        write_phantom_dataset(tmp_path, "yx", 1, 0, exclusive=True)


def test_the_image_does_not_tell_what_raters_say(tmp_path: Path) -> None:
    for share in (0.0, 1.0):
        write_phantom_dataset(tmp_path / str(share), "yx", 2, seed=3, disagreement=share, shape=(32, 32))
    a, b = (open_dataset(tmp_path / share) for share in ("0.0", "1.0"))
    for one, other in zip(a.cases, b.cases, strict=True):
        np.testing.assert_array_equal(load_image(a, one).array, load_image(b, other).array)
        assert (load_labels(a, one)[0].array < load_labels(b, other)[0].array).any()


@pytest.mark.parametrize("axes, shape", [("yx", (16, 64)), ("zyx", (64, 64)), ("tyx", (0, 64, 64))])
def test_shapes_that_cannot_hold_it_are_refused(axes: Axes, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give at least"):
        make_phantom(axes, shape, 0)


@pytest.mark.parametrize("wrong", [{"cases": 0}, {"raters": 0}, {"disagreement": 1.5}])
def test_illegal_numbers_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    arguments = {"cases": 1, "seed": 0, **wrong}
    with pytest.raises(ValueError, match="at least 1, disagreement 0 to 1"):
        write_phantom_dataset(tmp_path, "yx", **arguments)  # type: ignore[arg-type]


def test_the_usual_shapes_are_legal() -> None:
    for axes, shape in SHAPES.items():
        assert make_phantom(axes, shape, 0)[0].shape == shape
