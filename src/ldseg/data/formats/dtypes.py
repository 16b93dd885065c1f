"""Convert the numbers of a file to the two kinds of voxels: float32 images and integer label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.errors import file_error

_ROUNDING = 1e-4
"""Label maps stored as scaled integers are read as 0.99999997; smaller deviations are not reported."""
_NEARLY_WHOLE = 0.05
"""Coarsely scaled integers give 0.988 for 1; larger deviations are not whole numbers."""
_WIDE = 4
"""Item size in bytes from which an integer type may exceed signed 32 bits."""


def as_image(array: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """Return (M, *S) as float32. Raises InputError for complex numbers, NaN and infinity."""
    if np.iscomplexobj(array):
        raise file_error(path, "holds complex numbers", "save the magnitude")
    if array.size == 0:
        raise file_error(path, f"has no voxels (shape {array.shape})", "remove it")
    with np.errstate(over="ignore"):
        image = np.ascontiguousarray(array, dtype=np.float32)
    bad = int(image.size - np.count_nonzero(np.isfinite(image)))
    if bad:
        raise file_error(
            path, f"{bad} voxels are NaN or infinite", "replace them, for instance by the background"
        )
    return image


def as_labels(array: NDArray[Any], path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return label ids (1, *S) as native integers, and notes about assumptions.

    Raises InputError for colours, fractions, and ids beyond 32 bits.
    """
    if array.size == 0:
        raise file_error(path, f"has no voxels (shape {array.shape})", "remove it")
    label = one_channel(array, path)
    if label.dtype.kind == "b":
        return np.ascontiguousarray(label, dtype=np.uint8), ()
    if label.dtype.kind in "iu":
        return _whole(label, path), ()
    if label.dtype.kind != "f":
        raise file_error(path, f"holds {label.dtype} and not label ids", "save whole numbers")
    return whole_numbers(label, path)


def _whole(label: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return integer ids, in the smallest type that holds them if torch lacks their own."""
    kind = label.dtype.newbyteorder("=")
    if kind.itemsize < _WIDE:
        return np.ascontiguousarray(label, dtype=kind)
    low, high = int(label.min()), int(label.max())
    _refuse_huge(low, high, path)
    return np.ascontiguousarray(label, dtype=kind if kind == np.int32 else smallest_type(low, high))


def _refuse_huge(low: int, high: int, path: Path) -> None:
    """Raise InputError for ids that 32 bits cannot hold."""
    limits = np.iinfo(np.int32)
    if low < limits.min or high > limits.max:
        far = low if low < limits.min else high
        raise file_error(path, f"has label id {far}, beyond 32 bits", "number the structures from 1")


def one_channel(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return the first of equal channels (a gray mask saved in colour). Raises InputError if they differ."""
    if any(not np.array_equal(array[0], other) for other in array[1:]):
        finding = f"is a mask of {len(array)} different channels, so its ids are unknown"
        raise file_error(
            path, finding, "save one channel of class ids (gray or palette), not colours or one-hot"
        )
    return array[:1]


def whole_numbers(label: NDArray[Any], path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return float label ids as the smallest integer type that holds them, and notes about rounding."""
    lost = int(label.size - np.count_nonzero(np.isfinite(label)))
    if lost:
        finding = f"is a mask with {lost} voxels that are NaN or infinite"
        raise file_error(path, finding, "replace them by the background, or by the ignore id")
    rounded = np.rint(label)
    distance = np.abs(label - rounded)
    bad = int(np.count_nonzero(distance > _NEARLY_WHOLE))
    if bad:
        finding = f"is a mask with {bad} voxels that are not whole numbers"
        raise file_error(
            path, finding, "threshold probabilities or resample with nearest neighbour, then save ids"
        )
    low, high, farthest = int(rounded.min()), int(rounded.max()), float(distance.max())
    _refuse_huge(low, high, path)
    note = f"has label ids up to {farthest:.2g} away from whole numbers; rounded"
    notes = (note,) if farthest > _ROUNDING else ()
    return np.ascontiguousarray(rounded, dtype=smallest_type(low, high)), notes


def smallest_type(low: int, high: int) -> np.dtype[Any]:
    """Return the smallest integer type for `low` to `high` that every format and torch support."""
    for name in ("uint8", "int16", "int32"):
        if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
            return np.dtype(name)
    return np.dtype("int64")


def ids_in(array: NDArray[Any]) -> dict[int, int]:
    """Return the ids of a label map and their voxel counts, ascending."""
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:  # ten times as fast as sorting
        counted = np.bincount(array.ravel())
        return {int(number): int(counted[number]) for number in np.flatnonzero(counted)}
    ids, counts = np.unique(array, return_counts=True)
    return {int(number): int(count) for number, count in zip(ids, counts, strict=True)}
