"""Tiles cover the image, share each voxel fairly, and lie on the latent grid."""

from __future__ import annotations

import pytest
import torch

from ldseg.inference.sliding_window import make_tiling


@pytest.mark.parametrize("shape", [(16, 16), (5, 31), (33, 17), (64, 20), (17, 5, 40)])
def test_the_shares_of_every_voxel_sum_to_one(shape: tuple[int, ...]) -> None:
    tiling = make_tiling(shape, (16,) * len(shape), (4,) * len(shape))
    total = torch.zeros(tiling.covered)
    for tile in tiling.tiles():
        total[tile.region] += tile.weight
        assert all(corner % 4 == 0 for corner in tile.corner)
        assert (tile.weight > 0).all()
    torch.testing.assert_close(total, torch.ones(tiling.covered))
    assert all(n >= size for n, size in zip(tiling.covered, shape, strict=True))


@pytest.mark.parametrize("shape", [(16, 16), (3, 16), (1, 1)])
def test_an_image_that_fits_is_one_whole_tile(shape: tuple[int, ...]) -> None:
    (tile,) = make_tiling(shape, (16, 16), (4, 4)).tiles()
    assert tile.corner == (0, 0)
    assert torch.equal(tile.weight, torch.ones(16, 16))
