"""A label map in the order of axes of its image: the same voxels, counted from another corner.

Formats differ in which corner comes first and which axis is slowest, so a mask that was drawn on a converted
image has the world's voxels in another order. D axes; indices are (x, y[, z]) here, arrays (1, [z, ]y, x).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ldseg.data.geometry import affine
from ldseg.data.volumes import Volume

_SAME_VOXEL = 0.01  # voxels that a centre may lie from another's to be called the same


@dataclass(frozen=True)
class _Move:
    """From label index to image index: index_image = turn @ index_label + shift, a signed permutation."""

    turn: NDArray[np.intp]
    """(D, D)."""
    corners: NDArray[np.intp]
    """(2^D, D), the label's corners as image indices."""


def laid_on(label: Volume, image: Volume, fill: bool) -> Volume:
    """`label` with the axes of `image`. With `fill`, one that covers a part of the image is 0 elsewhere.

    A label whose voxels are not those of the image is returned as it is, for the caller to refuse.
    """
    move = _move(label, image)
    if move is None:
        return label
    low, high = move.corners.min(0)[::-1], move.corners.max(0)[::-1] + 1  # in array order
    inside = min(low) >= 0 and all(top <= n for top, n in zip(high, image.shape, strict=True))
    part = any(top - bottom != n for bottom, top, n in zip(low, high, image.shape, strict=True))
    if not inside or (part and not fill):
        return label
    moved = _turned(label.array[0], move.turn)
    laid = np.zeros((1, *image.shape), label.array.dtype)
    laid[(0, *(slice(bottom, top) for bottom, top in zip(low, high, strict=True)))] = moved
    return replace(label, array=laid, spacing=image.spacing, origin=image.origin, direction=image.direction)


def _move(label: Volume, image: Volume) -> _Move | None:
    """None where the voxels of the two do not coincide."""
    size = len(label.spacing)
    if len(image.spacing) != size:
        return None
    between = np.linalg.solve(affine(image), affine(label))
    turn = np.rint(between[:size, :size])
    corners = np.array(list(product(*[(0, n - 1) for n in reversed(label.shape)])))
    exact = corners @ between[:size, :size].T + between[:size, size]
    whole = corners @ turn.T + np.rint(between[:size, size])
    permutes = bool((np.abs(turn).sum(0) == 1).all() and (np.abs(turn).sum(1) == 1).all())
    if not permutes or np.abs(exact - whole).max() > _SAME_VOXEL:
        return None
    return _Move(turn.astype(np.intp), whole.astype(np.intp))


def _turned(array: NDArray[np.generic], turn: NDArray[np.intp]) -> NDArray[np.generic]:
    """The array (*S) with the axes of the image."""
    in_order = turn[::-1, ::-1]  # array axes are the index axes backwards
    axes = [int(axis) for axis in np.abs(in_order).argmax(1)]
    flips = tuple(n for n, row in enumerate(in_order) if row.sum() < 0)
    return np.flip(array.transpose(axes), flips)
