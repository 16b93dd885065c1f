"""Patches: covering, cropping, sampling, weighting."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldseg.preprocessing.patches import (
    covered_shape,
    crop,
    gaussian_weights,
    pad_to,
    sample_corner,
    tile_corners,
)


@settings(deadline=None, max_examples=200)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    cells=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    align=st.tuples(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8])),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
)
def test_tiles_cover_every_voxel_and_share_the_latent_grid(
    shape: tuple[int, int], cells: tuple[int, int], align: tuple[int, int], overlap: float
) -> None:
    patch = (cells[0] * align[0], cells[1] * align[1])
    corners = tile_corners(shape, patch, overlap, align)
    assert len(set(corners)) == len(corners)
    covered = np.zeros(covered_shape(corners, patch), dtype=int)
    assert all(n >= m for n, m in zip(covered.shape, shape, strict=True))
    for corner in corners:
        assert all(c % a == 0 for c, a in zip(corner, align, strict=True))
        covered[tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))] += 1
    assert covered.min() >= 1
    for n, m, p, a in zip(covered.shape, shape, patch, align, strict=True):
        assert n < m + a or n == p  # no more padding than the latent grid asks for


def test_an_image_that_fits_is_one_tile() -> None:
    assert tile_corners((35, 50, 36), (48, 64, 48), align=(4, 4, 4)) == [(0, 0, 0)]


def test_neighbours_overlap_by_half() -> None:
    starts = sorted({y for y, _ in tile_corners((200, 64), (64, 64), 0.5, (8, 8))})
    assert max(b - a for a, b in pairwise(starts)) <= 32


def test_a_crop_is_the_part_of_the_array_and_fill_outside() -> None:
    array = np.arange(2 * 6 * 7).reshape(2, 6, 7)
    np.testing.assert_array_equal(crop(array, (1, 2), (3, 4), -1), array[:, 1:4, 2:6])
    outside = crop(array, (-2, 5), (4, 4), -1)
    np.testing.assert_array_equal(outside[:, 2:, :2], array[:, :2, 5:])
    assert (outside[:, :2] == -1).all()
    assert (outside[:, :, 2:] == -1).all()
    assert (crop(array, (20, -9), (3, 3), 5) == 5).all()
    assert crop(array[0], (0, 0), (8, 8), 0).shape == (8, 8)


def test_padding_keeps_the_array_at_the_start() -> None:
    array = np.ones((2, 3, 4), np.float32)
    padded = pad_to(array, (5, 4), -7)
    assert padded.shape == (2, 5, 4)
    np.testing.assert_array_equal(padded[:, :3], array)
    assert (padded[:, 3:] == -7).all()
    assert pad_to(array, (2, 2), 0) is array


def test_a_small_image_is_placed_anywhere_within_the_patch() -> None:
    rng = np.random.default_rng(0)
    corners = {sample_corner(rng, (5, 9), (8, 8)) for _ in range(200)}
    assert {y for y, _ in corners} == {-3, -2, -1, 0}
    assert {x for _, x in corners} == {0, 1}


def test_a_third_of_the_patches_is_centred_on_a_structure_each_class_alike() -> None:
    rng = np.random.default_rng(0)
    foreground = {1: np.array([[50, 50]] * 1000), 2: np.array([[150, 150]])}
    corners = [sample_corner(rng, (200, 200), (20, 20), foreground) for _ in range(3000)]
    first, second = corners.count((40, 40)) / 3000, corners.count((140, 140)) / 3000
    assert first == pytest.approx(1 / 6, abs=0.03)
    assert second == pytest.approx(1 / 6, abs=0.03)
    assert all(0 <= c <= 180 for corner in corners for c in corner)


def test_corners_depend_on_the_generator_only() -> None:
    draws = [sample_corner(np.random.default_rng(3), (99, 99), (16, 16), {}) for _ in range(2)]
    assert draws[0] == draws[1]


def test_weights_are_highest_in_the_middle_symmetric_and_never_zero() -> None:
    weights = gaussian_weights((16, 24))
    assert weights.shape == (16, 24)
    assert weights.max() == 1
    assert weights.min() > 0
    np.testing.assert_allclose(weights, weights[::-1, ::-1])
    assert weights[8, 12] == 1
