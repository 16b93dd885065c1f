"""Voxel geometry: from index to millimetres, the choice of axes, and comparison of two grids.

A file has up to four index axes i, j, k, t (fastest first) and maybe channels c. A `Volume` has two or three
of them, slowest first. Positions are LPS millimetres; time is a coordinate like the others where axes has a
"t".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.volume import Axes, Volume
from ldseg.errors import file_error

_ORTHOGONALITY_TOLERANCE = 0.01
"""Tolerance for the cosine between two axes, and for the deviation of a squared unit vector from 1."""
_SPACE = 3
"""Number of spatial axes; a fourth is time."""


@dataclass(frozen=True)
class Grid:
    """The grid of a file or volume: D index axes, fastest first (x, y[, z][, t])."""

    spacing: tuple[float, ...]
    """Step along each index axis, D values."""
    origin: tuple[float, ...]
    """Position of the first voxel's centre, D values."""
    direction: tuple[float, ...]
    """Row-major D x D matrix; column n is the unit vector of index axis n."""
    physical: bool = True
    """False if the spatial spacing is unknown and given as 1.0."""


def volume_grid(volume: Volume) -> Grid:
    """Return the volume's grid, fastest axis first."""
    return Grid(tuple(reversed(volume.spacing)), volume.origin, volume.direction, volume.physical)


def unit_grid(dimensions: int) -> Grid:
    """Return a grid of unit steps from the origin, for formats without geometry."""
    return Grid((1.0,) * dimensions, (0.0,) * dimensions, tuple(np.eye(dimensions).ravel().tolist()), False)


def select_axes(grid: Grid, indices: tuple[int, ...]) -> Grid:
    """Return the grid of some of the index axes.

    A slice of a volume keeps the two world axes that it is closest to, which preserves its orientation; an
    oblique one gets the closest orthogonal directions.
    """
    size = len(grid.spacing)
    if indices == tuple(range(size)):
        return grid
    columns = np.asarray(grid.direction).reshape(size, size)[:, indices]
    origin = np.asarray(grid.origin)
    world = _world_axes(columns, indices)
    matrix, position = columns[list(world)], origin[list(world)]
    if not np.allclose(np.linalg.norm(matrix, axis=0), 1.0, atol=1e-4):
        left, _, right = np.linalg.svd(matrix)
        matrix = left @ right
        position = matrix @ (columns.T @ origin)  # within its own plane
    return Grid(
        tuple(grid.spacing[n] for n in indices),
        tuple(float(value) for value in position),
        tuple(float(value) for value in matrix.ravel()),
        grid.physical,
    )


def _world_axes(columns: NDArray[np.float64], indices: tuple[int, ...]) -> tuple[int, ...]:
    """Return the world axes for index axes with direction `columns`: in space, those closest to them."""
    space = [n for n in indices if n < _SPACE]
    if len(space) == _SPACE or len(columns) < _SPACE:
        return indices
    reach = np.linalg.norm(columns[:_SPACE, : len(space)], axis=1)
    nearest = sorted(np.argsort(-reach, kind="stable")[: len(space)].tolist())
    return (*nearest, *(n for n in indices if n >= _SPACE))


def require_orthogonal_axes(grid: Grid, shape: tuple[int, ...], path: Path) -> None:
    """Raise InputError unless the spatial axes of a grid are orthogonal unit vectors.

    `shape` is the number of voxels along each axis, fastest first.
    """
    size = min(_SPACE, len(shape), len(grid.spacing))
    used = [n for n in range(size) if shape[n] > 1]
    whole = int(len(grid.direction) ** 0.5)
    columns = np.asarray(grid.direction).reshape(whole, whole)[:, used]
    products = np.abs(columns.T @ columns - np.eye(len(used)))
    if products.size and not products.max() <= _ORTHOGONALITY_TOLERANCE:
        lengths = np.linalg.norm(columns, axis=0)
        if not np.abs(lengths - 1).max() <= _ORTHOGONALITY_TOLERANCE:
            finding = "has directions that are no unit vectors, which contradict its spacing"
        else:
            finding = "has axes that are not at right angles (a sheared affine)"
        raise file_error(path, finding, "resample it onto a grid with right angles, or correct its geometry")


def affine(volume: Volume) -> NDArray[np.float64]:
    """Return the (D+1, D+1) matrix from voxel index (x, y[, z]) to LPS position in mm."""
    size = len(volume.spacing)
    matrix = np.eye(size + 1)
    matrix[:size, :size] = np.asarray(volume.direction).reshape(size, size) * np.asarray(volume.spacing)[::-1]
    matrix[:size, size] = volume.origin
    return matrix


def largest_offset(first: Volume, second: Volume) -> float:
    """Return the largest distance between corners of two grids of equal shape, in voxels of `first`."""
    corners = np.array(
        list(product(*[(0, n - 1) for n in reversed(first.shape)])), dtype=np.float64
    )  # (2^D, D)
    homogeneous = np.c_[corners, np.ones(len(corners))]
    apart = (affine(first) - affine(second)) @ homogeneous.T  # (D+1, 2^D) in mm
    voxels = np.linalg.solve(affine(first)[:-1, :-1], apart[:-1])
    return float(np.abs(voxels).max())


@dataclass(frozen=True)
class AxisLayout:
    """The mapping of a file's axes (i, j, k, t, c) to those of a volume."""

    axes: Axes
    indices: tuple[int, ...]
    """The file's index axes that are used, fastest first: (0, 1), (0, 1, 2) or (0, 1, 3)."""


def axis_layout(shape: tuple[int, ...], axes: Axes | None, path: Path) -> AxisLayout:
    """Return how a file of shape (i, j, k, t, c) is read as `axes`; None detects the axes from the shape.

    By default one slice is "yx", several are "zyx", and a fourth axis holds channels.
    Raises InputError when the shape cannot be read so.
    """
    _, _, slices, times, channels = shape
    if axes is None:
        axes = "zyx" if slices > 1 else "yx"
    if axes == "tyx":
        if slices > 1 and times > 1:
            finding = f"has {slices} slices of {times} frames, which is not 2D+time"
            raise file_error(path, finding, "save each slice as a file of its own")
        return AxisLayout(axes, (0, 1, 2) if slices > 1 else (0, 1, 3))
    if times > 1 and channels > 1:
        raise file_error(
            path, f"has {times} frames of {channels} channels", "save each frame as a file of its own"
        )
    if axes == "yx" and slices > 1:
        raise file_error(
            path, f"has {slices} slices where a 2D image is expected", "save each slice as a file of its own"
        )
    return AxisLayout(axes, (0, 1) if axes == "yx" else (0, 1, 2))


def to_channels_first(array: NDArray[Any], layout: AxisLayout) -> NDArray[Any]:
    """Return an array (i, j, k, t, c) as (M, *S)."""
    i, j, k, t, c = array.shape
    if layout.axes == "tyx":
        return array.reshape(i, j, k * t, c).transpose(3, 2, 1, 0)
    if layout.axes == "zyx":
        return array.reshape(i, j, k, t * c).transpose(3, 2, 1, 0)
    return array.reshape(i, j, t * c).transpose(2, 1, 0)


def to_volume(array: NDArray[Any], grid: Grid, layout: AxisLayout, native: object) -> Volume:
    """Return the file's voxels (M, *S) as a `Volume` on the axes of `layout`."""
    part = select_axes(grid, layout.indices)
    spacing = tuple(reversed(part.spacing))
    return Volume(
        array, spacing, part.origin, part.direction, layout.axes, "image", native, physical=part.physical
    )
