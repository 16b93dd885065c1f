"""Place and cut patches of a grid, and weight them for joining.

Arrays are (*S) or (..., *S); a corner is the first voxel of a patch and may lie outside of the array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]

FOREGROUND_SHARE = 1 / 3
"""Share of training patches centred on a structure, where the image is larger than the patch."""


def pad_to(array: NDArray[Any], shape: Sequence[int], value: float) -> NDArray[Any]:
    """Return `array` (..., *S) filled up with `value` at the end of each axis to at least `shape`."""
    grid = array.shape[-len(shape) :]
    missing = [max(0, wanted - n) for wanted, n in zip(shape, grid, strict=True)]
    if not any(missing):
        return array
    return np.pad(
        array, [(0, 0)] * (array.ndim - len(shape)) + [(0, m) for m in missing], constant_values=value
    )


def crop(array: NDArray[Any], corner: Sequence[int], patch: Sequence[int], fill: float) -> NDArray[Any]:
    """Return the `patch` of `array` (..., *S) at `corner`; what lies outside of the array is `fill`."""
    lead = array.shape[: array.ndim - len(patch)]
    grid = array.shape[array.ndim - len(patch) :]
    result = np.full((*lead, *patch), fill, dtype=array.dtype)
    source = [slice(max(0, c), max(0, min(n, c + p))) for c, p, n in zip(corner, patch, grid, strict=True)]
    target = [
        slice(s.start - c, s.start - c + max(0, s.stop - s.start))
        for c, s in zip(corner, source, strict=True)
    ]
    if all(s.stop > s.start for s in source):
        result[(..., *target)] = array[(..., *source)]
    return result


def sample_corner(
    rng: np.random.Generator,
    shape: Sequence[int],
    patch: Sequence[int],
    foreground: Mapping[int, NDArray[np.integer[Any]]] | None = None,
) -> Shape:
    """Return the randomly drawn corner of a training patch in a grid of `shape`.

    An axis that the patch covers is placed anywhere within it (corner <= 0). Along longer axes a third of the
    patches is centred on a voxel of `foreground` (class -> (N, D) coordinates), all classes equally often.
    """
    excess = [n - p for n, p in zip(shape, patch, strict=True)]
    corner = [int(rng.integers(min(0, r), max(0, r) + 1)) for r in excess]
    classes = sorted(k for k, found in (foreground or {}).items() if len(found))
    if foreground and classes and max(excess) > 0 and rng.random() < FOREGROUND_SHARE:
        found = foreground[classes[int(rng.integers(len(classes)))]]
        centre = found[int(rng.integers(len(found)))]
        for axis, free in enumerate(excess):
            if free > 0:
                corner[axis] = min(max(int(centre[axis]) - patch[axis] // 2, 0), free)
    return tuple(corner)


def tile_corners(
    shape: Sequence[int],
    patch: Sequence[int],
    overlap: float = 0.5,
    align: Sequence[int] | None = None,
) -> list[Shape]:
    """Return corners of patches that cover a grid of `shape` in even steps, neighbours sharing `overlap`.

    Every corner is a multiple of `align`, the latent factor, so that tiles share the cells of one latent
    grid; the last ones may reach over the end: pad the image to `covered_shape`.
    """
    steps = [1] * len(shape) if align is None else list(align)
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}; choose a value in [0, 1)")
    if any(p % a for p, a in zip(patch, steps, strict=True)):
        raise ValueError(f"patch {tuple(patch)} is not a multiple of {tuple(steps)}")
    axes = [_starts(n, p, overlap, a) for n, p, a in zip(shape, patch, steps, strict=True)]
    return list(product(*axes))


def covered_shape(corners: Sequence[Shape], patch: Sequence[int]) -> Shape:
    """Return the grid that patches at `corners` cover, at least the image's own."""
    return tuple(max(c) + p for c, p in zip(zip(*corners, strict=True), patch, strict=True))


def _starts(size: int, patch: int, overlap: float, align: int) -> list[int]:
    """Return even starts along one axis: multiples of `align` from 0, the last patch reaching the end."""
    if size <= patch:
        return [0]
    last = ceil((size - patch) / align)  # in units of align from here
    step = max(1.0, patch * (1 - overlap) / align)
    count = ceil(last / step) + 1
    return [round(i * last / (count - 1)) * align for i in range(count)]


def gaussian_weights(patch: Sequence[int]) -> NDArray[np.float32]:
    """Return weights (*patch), 1 in the middle, never 0; the deviation is an eighth of the patch."""
    weights = np.ones((1,) * len(patch), dtype=np.float64)
    for axis, size in enumerate(patch):
        offset = (np.arange(size) - (size - 1) / 2) / (size / 8)
        weights = weights * np.exp(-0.5 * offset**2).reshape(
            [-1 if a == axis else 1 for a in range(len(patch))]
        )
    return np.maximum(weights / weights.max(), 1e-4).astype(np.float32)
