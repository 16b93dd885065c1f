"""Flip and transpose arrays to the canonical orientation (planning/orientation.py) and back, bit-exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.planning.orientation import Orientation


def to_canonical(array: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    """Return `array` (M, *S) of the file's grid in canonical order; a view where possible."""
    turned = np.transpose(array, (0, *(axis + 1 for axis in orientation.permutation)))
    return np.flip(turned, axis=_flipped(orientation))


def from_canonical(array: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    """Undo `to_canonical` exactly."""
    inverse = tuple(int(axis) for axis in np.argsort(orientation.permutation))
    return np.transpose(np.flip(array, axis=_flipped(orientation)), (0, *(axis + 1 for axis in inverse)))


def _flipped(orientation: Orientation) -> tuple[int, ...]:
    return tuple(axis + 1 for axis, flip in enumerate(orientation.flips) if flip)
