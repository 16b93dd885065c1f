"""Statistics of features are those of the image, however it lies in tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ldseg.inference.feature_statistics import FeatureStatistics, Statistics
from ldseg.inference.sliding_window import make_tiling


def statistics_of(image: np.ndarray, patch: tuple[int, ...], factor: int = 1) -> Statistics:
    """Of features that are the image itself (C, *S), coarser by `factor`."""
    tiling = make_tiling(image.shape[1:], patch, (4,) * len(patch))
    found = FeatureStatistics(tiling)
    beyond = [(0, max(0, c - n)) for c, n in zip(tiling.covered, image.shape[1:], strict=True)]
    padded = np.pad(image, [(0, 0), *beyond], constant_values=1000.0)
    for tile in tiling.tiles():
        cells = torch.from_numpy(padded[(slice(None), *tile.region)])[None]
        for axis in range(2, cells.ndim):
            cells = cells.unfold(axis, factor, factor).mean(-1)
        found.add(tile, [cells])
    return found.result()


def test_mean_deviation_and_slopes_of_one_tile_are_numpys() -> None:
    image = np.random.default_rng(0).normal(2, 3, (2, 8, 12)).astype(np.float32)
    (found,) = statistics_of(image, (8, 12))
    flat = image.reshape(2, -1)
    np.testing.assert_allclose(found[0], flat.mean(1), atol=1e-5)
    np.testing.assert_allclose(found[1], np.log(flat.std(1)), atol=1e-5)
    for axis, n in enumerate((8, 12)):
        position = (np.arange(n) + 0.5) / n * 2 - 1
        values = image.mean(2 - axis)
        np.testing.assert_allclose(found[2 + axis], (values * position).mean(1), atol=1e-5)


@pytest.mark.parametrize("shape, patch", [((40, 28), (16, 16)), ((20, 24, 12), (16, 16, 8))])
def test_an_image_in_many_tiles_has_the_statistics_of_the_whole(
    shape: tuple[int, ...], patch: tuple[int, ...]
) -> None:
    image = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    whole, tiled = statistics_of(image, shape)[0], statistics_of(image, patch)[0]
    np.testing.assert_allclose(tiled, whole, atol=1e-4)


def test_padding_does_not_count() -> None:
    image = np.random.default_rng(2).normal(size=(1, 12, 8)).astype(np.float32)
    whole, padded = statistics_of(image, (12, 8), 4)[0], statistics_of(image, (16, 16), 4)[0]
    np.testing.assert_allclose(padded, whole, atol=1e-5)


def test_a_model_without_features_has_no_statistics() -> None:
    tiling = make_tiling((8, 8), (8, 8), (4, 4))
    found = FeatureStatistics(tiling)
    for tile in tiling.tiles():
        found.add(tile, ())
    assert found.result() == ()
