"""From the numbers of a file to the two kinds of voxels: float32 images and integer label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.faults import file_error

# Label maps stored as scaled integers come back as 0.99999997; more than this is a fraction, not rounding.
_ROUNDING = 1e-4
_LARGEST_ID = 2**53  # beyond it whole numbers in floats are not exact


def as_image(array: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """(M, *S) float32. Raises InputError for complex numbers, NaN and infinity."""
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


def as_labels(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """(1, *S) integers in the machine's byte order. Raises InputError for colours and for fractions."""
    if array.size == 0:
        raise file_error(path, f"has no voxels (shape {array.shape})", "remove it")
    label = one_channel(array, path)
    if label.dtype.kind == "b":
        return np.ascontiguousarray(label, dtype=np.uint8)
    if label.dtype.kind in "iu":
        return np.ascontiguousarray(label, dtype=label.dtype.newbyteorder("="))
    if label.dtype.kind != "f":
        raise file_error(path, f"holds {label.dtype} and not label ids", "save whole numbers")
    return whole_numbers(label, path)


def one_channel(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """The first of channels that are all equal (a grey mask saved in colour)."""
    if any(not np.array_equal(array[0], other) for other in array[1:]):
        finding = f"is a mask of {len(array)} different channels, so its ids are unknown"
        raise file_error(
            path, finding, "save one channel of class ids (grey or palette), not colours or one-hot"
        )
    return array[:1]


def whole_numbers(label: NDArray[Any], path: Path) -> NDArray[Any]:
    """Float label ids as the smallest integer type that holds them."""
    rounded = np.rint(label)
    with np.errstate(invalid="ignore"):
        whole = (np.abs(label - rounded) <= _ROUNDING) & (np.abs(label) <= _LARGEST_ID)
    bad = int(np.count_nonzero(~whole))  # NaN and infinity too
    if bad:
        finding = f"is a mask with {bad} voxels that are not whole numbers"
        raise file_error(
            path, finding, "threshold probabilities or resample with nearest neighbour, then save ids"
        )
    return np.ascontiguousarray(rounded, dtype=smallest_type(int(rounded.min()), int(rounded.max())))


def smallest_type(low: int, high: int) -> np.dtype[Any]:
    """The smallest of the integer types that every format and torch can hold."""
    for name in ("uint8", "int16", "int32"):
        if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
            return np.dtype(name)
    return np.dtype("int64")
