"""Surfaces lie where their structures are, in mm."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from viewer_helpers import an_image

from ldseg.app.viewer import surfaces
from ldseg.app.viewer.nifti import ras_affine
from ldseg.app.viewer.surfaces import surface
from ldseg.data.volume import Volume


def corners(content: bytes | None) -> NDArray[np.float32]:
    """The vertices (n, 3) of a file whose triangles are of these."""
    assert content is not None
    magic, kind, faces, vertices, skipped = struct.unpack_from("<HHIII", content)
    assert (magic, kind, skipped) == (0x5A4D, 3, 0)
    triangles = np.frombuffer(content, "<u4", 3 * faces, 16)
    assert triangles.max() == vertices - 1
    assert len(content) == 16 + 12 * (faces + vertices)
    return np.frombuffer(content, "<f4", 3 * vertices, 16 + 12 * faces).reshape(-1, 3)


def a_block(shape: tuple[int, ...]) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """A block of class 2, and its middle (z, y, x)."""
    indices = np.zeros(shape, np.int16)
    indices[10:20, 5:17, 8:24] = 2
    return indices, np.array([14.5, 10.5, 15.5])


def oblique() -> Volume:
    """A grid that is stored backwards along two axes, with unequal steps."""
    direction = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]], float)
    grid = replace(an_image("zyx"), spacing=(2.0, 1.0, 1.5), origin=(30.0, 20.0, -5.0))
    return replace(
        grid, array=np.zeros((1, 30, 24, 32), np.float32), direction=tuple(direction.ravel().tolist())
    )


@pytest.mark.parametrize("most", [2**20, 300])
def test_a_surface_is_around_its_structure_also_when_it_is_coarser(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(surfaces, "_MOST", most)
    grid = oblique()
    indices, middle = a_block(grid.shape)
    found = corners(surface(indices, 2, grid))
    expected = ras_affine(grid)[:3] @ [*middle[::-1], 1]
    low, high = found.min(0), found.max(0)
    np.testing.assert_allclose((low + high) / 2, expected, atol=0.8)
    extent = np.abs(ras_affine(grid)[:3, :3] @ [16, 12, 10])
    np.testing.assert_allclose(high - low, extent, rtol=0.15)


def test_a_surface_of_a_structure_that_is_cut_by_the_border_is_closed() -> None:
    grid = oblique()
    indices = np.zeros(grid.shape, np.int16)
    indices[:4] = 1
    found = corners(surface(indices, 1, grid))
    assert np.ptp(found, axis=0) == pytest.approx(np.abs(ras_affine(grid)[:3, :3] @ [32, 24, 4]), rel=0.15)


def test_a_single_voxel_has_a_surface_and_an_absent_class_none() -> None:
    grid = oblique()
    indices = np.zeros(grid.shape, np.int16)
    indices[3, 4, 5] = 1
    assert len(corners(surface(indices, 1, grid))) > 3
    assert surface(indices, 2, grid) is None
