"""Convert stored pixels to displayed ones: orientation tag, inverted gray values, CMYK inks, alpha.

One rule for images and label maps of all 2D formats. Display attributes are applied on
reading and not written to results, so a label map matches the image as a viewer shows it. Arrays end
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
"""Tag number in TIFF and EXIF."""
KNOWN_ORIENTATIONS = range(1, 9)
UPRIGHT = 1
INKS = "its CMYK inks were converted to RGB without a colour profile"
_TRANSPOSED = (5, 6, 7, 8)
_FLIPPED_ROWS = (3, 4, 7, 8)
_FLIPPED_COLUMNS = (2, 3, 6, 7)
"""Flips are applied after the transposition."""
_ALPHA = (1, 2)
"""Values of ExtraSamples for alpha, premultiplied or not."""


def orientation_note(orientation: int) -> tuple[str, ...]:
    """Return a note if the image was reoriented, else nothing."""
    if orientation == UPRIGHT:
        return ()
    return (f"it was turned as its Orientation tag says ({orientation}), as viewers show it",)


def swaps_axes(orientation: int) -> bool:
    """Return whether the displayed rows are the stored columns."""
    return orientation in _TRANSPOSED


def apply_orientation(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return the stored array (..., Y, X) in displayed orientation."""
    if swaps_axes(orientation):
        array = array.swapaxes(-1, -2)
    if orientation in _FLIPPED_ROWS:
        array = array[..., ::-1, :]
    if orientation in _FLIPPED_COLUMNS:
        array = array[..., ::-1]
    return array


def stored_region(region: Sequence[slice], shape: Sequence[int], orientation: int) -> tuple[slice, slice]:
    """Return the stored rows and columns for `region` of the displayed image of `shape` (Y, X)."""
    rows, columns = region
    if orientation in _FLIPPED_ROWS:
        rows = slice(shape[0] - rows.stop, shape[0] - rows.start)
    if orientation in _FLIPPED_COLUMNS:
        columns = slice(shape[1] - columns.stop, shape[1] - columns.start)
    return (columns, rows) if swaps_axes(orientation) else (rows, columns)


def invert_gray(array: NDArray[Any], bits: int, path: Path, kind: Kind) -> NDArray[Any]:
    """Return gray values of `bits` bits, stored with white as 0, with black as 0.

    Integers are inverted within the range of their bits, floats within 0 to 1. Label maps are
    inverted like images, because masks in black and white are drawn as displayed. Raises InputError for
    floats of another range, and for label maps that would have no background.
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
    """Return CMYK inks (4, ...) as RGB colours (3, ...) of the same unsigned integer type."""
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
    """Return (C, ...) with the first `colours` channels and further ones that are not alpha.

    `extra` are TIFF's ExtraSamples. Alpha must be opaque. A single undeclared sample counts as alpha if
    it is opaque and `keep_unstated` is not set, else as a channel. Raises InputError for transparency: the
    colours under it are not visible.
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
        alpha = array[colours + place]
        kind = alpha.dtype.kind
        opaque = 2**bits - 1 if kind == "u" else np.iinfo(alpha.dtype).max if kind == "i" else 1
        clear = int(np.count_nonzero(alpha != opaque))
        if clear and stated:
            raise transparency_error(path, clear)
        if clear:
            kept.append(colours + place)
    return array[[*range(colours), *kept]] if kept else array[:colours]


def is_alpha(extra: Sequence[int], place: int) -> bool:
    """Return whether TIFF's ExtraSamples declare the extra sample at `place` as alpha."""
    return place < len(extra) and extra[place] in _ALPHA


def transparency_error(path: Path, count: int) -> FileError:
    """Return the error for an image with `count` pixels that are not opaque."""
    remedy = "flatten the image onto a background, without alpha"
    return file_error(path, f"{count} pixels are transparent", remedy)
