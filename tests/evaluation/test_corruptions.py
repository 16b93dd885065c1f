"""Corruptions grow with their strength, repeat themselves, and leave grid, range and time alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ldseg.data.volume import Volume
from ldseg.evaluation.corruptions import CORRUPTIONS, corrupt, relative_voxel, to_unit

EVERY = pytest.mark.parametrize("name", CORRUPTIONS)
RANDOM = ("gaussian_noise", "rician_noise", "speckle", "bias_field")
NOISE = ("gaussian_noise", "rician_noise", "speckle")
GRIDS = {"yx": (40, 33), "zyx": (12, 20, 17), "tyx": (4, 24, 28)}


def picture(axes: str, channels: int = 1, spacing: tuple[float, ...] | None = None) -> Volume:
    """Smooth blobs with an edge, of intensities around 1000."""
    shape = GRIDS[axes]
    array = np.random.default_rng(0).normal(size=(channels, *shape))
    array = ndimage.gaussian_filter(array, (0, *(2 for _ in shape)))
    array = 1000 + 300 * (array / array.std() + (array > 0))
    d = len(shape)
    steps = spacing or (1.0,) * d
    turn = tuple(np.eye(d).ravel().tolist())
    return Volume(array.astype(np.float32), steps, (3.0,) * d, turn, axes, "image")  # type: ignore[arg-type]


def test_each_has_five_strengths_that_ascend() -> None:
    for chosen in CORRUPTIONS.values():
        assert len(chosen.strengths) == 5
        assert sorted(set(chosen.strengths)) == list(chosen.strengths)


@EVERY
@pytest.mark.parametrize("axes", GRIDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_image_stays_at_its_place_and_its_file_untouched(name: str, axes: str, channels: int) -> None:
    volume = picture(axes, channels)
    before = volume.array.copy()
    found = corrupt(volume, name, CORRUPTIONS[name].strengths[-1], 0, "a")
    assert found.array.shape == volume.array.shape
    assert found.array.dtype == np.float32
    assert np.isfinite(found.array).all()
    assert (found.spacing, found.origin, found.direction) == (
        volume.spacing,
        volume.origin,
        volume.direction,
    )
    np.testing.assert_array_equal(volume.array, before)
    assert not np.array_equal(found.array, before)


@EVERY
def test_the_first_strength_changes_nothing(name: str) -> None:
    volume = picture("zyx")
    assert corrupt(volume, name, CORRUPTIONS[name].strengths[0], 0, "a") is volume


@EVERY
@pytest.mark.parametrize("axes", GRIDS)
def test_a_stronger_corruption_changes_more(name: str, axes: str) -> None:
    volume = picture(axes)
    changes = [
        np.mean(
            [np.abs(corrupt(volume, name, s, seed, "a").array - volume.array).mean() for seed in range(8)]
        )
        for s in CORRUPTIONS[name].strengths
    ]
    assert changes == sorted(changes)
    assert changes[0] == 0 < changes[1]


@pytest.mark.parametrize("name", RANDOM)
def test_seed_case_and_strength_choose_the_noise(name: str) -> None:
    volume = picture("yx")
    strength = CORRUPTIONS[name].strengths[2]
    first = corrupt(volume, name, strength, 0, "a").array
    np.testing.assert_array_equal(corrupt(volume, name, strength, 0, "a").array, first)
    assert not np.array_equal(corrupt(volume, name, strength, 1, "a").array, first)
    assert not np.array_equal(corrupt(volume, name, strength, 0, "b").array, first)


def test_gaussian_noise_follows_the_papers_protocol() -> None:
    """Noise of the stated share of the range is added, and the result scaled to the range again."""
    array = np.full((1, 2, 4000), 1000, np.float32)
    array[0, 1] = 1200
    volume = Volume(array, (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0), "yx", "image")
    (dark, bright) = corrupt(volume, "gaussian_noise", 0.2, 0, "a").array[0]
    assert (min(dark.min(), bright.min()), max(dark.max(), bright.max())) == (1000, 1200)
    assert dark.std() / (bright.mean() - dark.mean()) == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("name", NOISE)
def test_noise_stays_within_the_range_of_its_channel(name: str) -> None:
    volume = picture("yx", 3)
    volume.array[1] *= 100
    found = corrupt(volume, name, CORRUPTIONS[name].strengths[-1], 0, "a").array
    for before, after in zip(volume.array, found, strict=True):
        np.testing.assert_allclose([after.min(), after.max()], [before.min(), before.max()], rtol=1e-5)


@pytest.mark.parametrize("name", ["blur", "low_resolution"])
def test_frames_do_not_run_into_each_other(name: str) -> None:
    volume = picture("tyx")
    other = volume.array.copy()
    other[:, 2] = other[:, 2, ::-1]  # same least and greatest value
    strength = CORRUPTIONS[name].strengths[-1]
    first = corrupt(volume, name, strength, 0, "a").array
    second = corrupt(volume.with_array(other, "image"), name, strength, 0, "a").array
    np.testing.assert_array_equal(first[:, [0, 1, 3]], second[:, [0, 1, 3]])
    assert not np.array_equal(first[:, 2], second[:, 2])


def test_a_bias_field_is_the_same_in_all_frames() -> None:
    volume = picture("tyx")
    volume.array[:] = volume.array[:, :1]
    found = corrupt(volume, "bias_field", 0.8, 0, "a").array
    np.testing.assert_allclose(found, np.broadcast_to(found[:, :1], found.shape), rtol=1e-6)


@pytest.mark.parametrize("name", ["blur", "low_resolution"])
def test_widths_are_lengths_not_voxels(name: str) -> None:
    """Slices 30 times as thick as pixels are wide are hardly touched by what reaches three pixels."""
    volume = picture("zyx", spacing=(30.0, 1.0, 1.0))
    assert relative_voxel(volume) == (30.0, 1.0, 1.0)
    flat = volume.array.copy()
    flat[:] = flat[:, :, :1, :1]  # changes along z only
    found = corrupt(volume.with_array(flat, "image"), name, 3, 0, "a").array
    np.testing.assert_allclose(found, flat, rtol=1e-3)


@EVERY
def test_a_constant_channel_stays_as_it_is(name: str) -> None:
    volume = picture("yx", 2)
    volume.array[0] = 7
    found = corrupt(volume, name, CORRUPTIONS[name].strengths[-1], 0, "a").array
    np.testing.assert_array_equal(found[0], volume.array[0])
    assert np.isfinite(found).all()


def test_channels_are_scaled_each_by_itself() -> None:
    array = np.stack([np.arange(6.0), 100 + 10 * np.arange(6.0), np.full(6, 3.0)]).astype(np.float32)
    unit = to_unit(array.reshape(3, 2, 3))
    np.testing.assert_allclose(unit[0], unit[1])
    assert (unit.min(), unit.max(), unit[2].max()) == (0, 1, 0)
