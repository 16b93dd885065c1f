"""Voxels as an image viewer displays them: orientation tag, inverted grey values, inks, alpha.

One rule for images and label maps of all picture formats. What a file says of its display is applied on
reading; results are written without it, so a label map lies on what a viewer shows of the image. Arrays end
in (Y, X). Orientation is the value 1 to 8 of TIFF's tag 274, which is EXIF's 0x0112.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.volume import Kind
from ldseg.errors import FileError, file_error

ORIENTATION = 0x0112
"""The tag, in TIFF and in EXIF."""
KNOWN_ORIENTATIONS = range(1, 9)
UPRIGHT = 1
INKS = "its CMYK inks were converted to RGB without a colour profile"
_TRANSPOSED = (5, 6, 7, 8)
_FLIPPED_ROWS = (3, 4, 7, 8)
_FLIPPED_COLUMNS = (2, 3, 6, 7)
"""The axis is flipped after the transposition."""
_ALPHA = (1, 2)
"""ExtraSamples: alpha by which the colours were multiplied, or not."""


def orientation_note(orientation: int) -> tuple[str, ...]:
    """The note for a volume that was turned; empty when it was not."""
    if orientation == UPRIGHT:
        return ()
    return (f"it was turned as its Orientation tag says ({orientation}), as viewers show it",)


def swaps_axes(orientation: int) -> bool:
    """Whether the displayed rows are the stored columns."""
    return orientation in _TRANSPOSED


def apply_orientation(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The stored array (..., Y, X) as it is displayed."""
    if swaps_axes(orientation):
        array = array.swapaxes(-1, -2)
    if orientation in _FLIPPED_ROWS:
        array = array[..., ::-1, :]
    if orientation in _FLIPPED_COLUMNS:
        array = array[..., ::-1]
    return array


def stored_region(region: Sequence[slice], shape: Sequence[int], orientation: int) -> tuple[slice, slice]:
    """The part (rows, columns) of the stored image that is `region` of the displayed one, `shape` (Y, X)."""
    rows, columns = region
    if orientation in _FLIPPED_ROWS:
        rows = slice(shape[0] - rows.stop, shape[0] - rows.start)
    if orientation in _FLIPPED_COLUMNS:
        columns = slice(shape[1] - columns.stop, shape[1] - columns.start)
    return (columns, rows) if swaps_axes(orientation) else (rows, columns)


def invert_grey(array: NDArray[Any], bits: int, path: Path, kind: Kind) -> NDArray[Any]:
    """Grey values of `bits` that are stored with white as 0, with black as 0.

    Whole numbers are inverted within the range of their bits, fractions within 0 to 1. Label maps are
    inverted like images, because masks in black and white are drawn as displayed. Raises InputError for
    fractions of another range, and for label maps that get ids without a background.
    """
    remedy = "save it with black as 0 (BlackIsZero)"
    if array.dtype.kind == "b":
        return ~array
    if array.dtype.kind == "f":
        low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
        if not 0 <= low <= high <= 1:
            finding = (
                f"stores white as 0 (WhiteIsZero), in numbers from {low:g} to {high:g} of no known range"
            )
            raise file_error(path, finding, remedy)
        return 1 - array
    if array.dtype.kind == "i":
        return ~array
    largest = array.dtype.type(2**bits - 1)
    found = largest - array
    if kind == "labels" and found.size:
        low, high = int(found.min()), int(found.max())
        if 0 < low < high == largest:
            finding = (
                f"is a label map that stores white as 0 (WhiteIsZero), so that its ids are {low} to {high}"
            )
            raise file_error(path, finding, remedy)
    return found


def cmyk_to_rgb(inks: NDArray[Any]) -> NDArray[Any]:
    """The RGB colours (3, ...) of CMYK inks (4, ...), of the same type of unsigned integers."""
    full = np.iinfo(inks.dtype).max
    paper = (full - inks).astype(np.uint16 if inks.dtype.itemsize == 1 else np.uint32)  # holds full * full
    return ((paper[:3] * paper[3] + full // 2) // full).astype(inks.dtype)


def drop_alpha(
    array: NDArray[Any],
    path: Path,
    colours: int,
    extra: Sequence[int],
    bits: int,
    keep_unstated: bool = False,
) -> NDArray[Any]:
    """(C, ...) with the first `colours` channels and those of the others that are no alpha.

    `extra` are TIFF's ExtraSamples. Alpha must be opaque. A single sample of no stated meaning is alpha where
    it is opaque and `keep_unstated` is not set, else a channel. Raises InputError for real transparency: what
    lies under it is not part of what a person sees.
    """
    count = len(array) - colours
    if count <= 0:
        return array
    kept: list[int] = []
    for place in range(count):
        stated = is_alpha(extra, place)
        if not stated and (count > 1 or keep_unstated):
            kept.append(colours + place)
            continue
        clear = _count_clear(array[colours + place], bits)
        if clear and stated:
            raise transparency_error(path, clear)
        if clear:
            kept.append(colours + place)
    return array[[*range(colours), *kept]] if kept else array[:colours]


def is_alpha(extra: Sequence[int], place: int) -> bool:
    """Whether TIFF's ExtraSamples state that the extra sample at `place` is alpha."""
    return place < len(extra) and extra[place] in _ALPHA


def transparency_error(path: Path, count: int) -> FileError:
    """The error to raise for an image with `count` pixels that are not opaque."""
    remedy = "flatten the image onto a background, without alpha"
    return file_error(path, f"{count} pixels are transparent", remedy)


def _count_clear(alpha: NDArray[Any], bits: int) -> int:
    """How many values are not opaque."""
    kind = alpha.dtype.kind
    opaque = 2**bits - 1 if kind == "u" else np.iinfo(alpha.dtype).max if kind == "i" else 1
    return int(np.count_nonzero(alpha != opaque))
