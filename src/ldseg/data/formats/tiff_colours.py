"""The samples of a TIFF's pixels as grey values or RGB colours, by its photometric interpretation.

Read are grey values with black or white as 0, RGB, palettes, CMYK inks, and YCbCr that is compressed as JPEG;
other colour spaces are refused. Label maps keep the indices of their palette.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ldseg.data.formats.displayed import INKS, cmyk_to_rgb, drop_alpha, invert_grey, is_alpha
from ldseg.data.volume import Kind
from ldseg.errors import file_error

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_SAMPLES = {
    _PHOTOMETRIC.MINISWHITE: 1,
    _PHOTOMETRIC.MINISBLACK: 1,
    _PHOTOMETRIC.PALETTE: 1,
    _PHOTOMETRIC.MASK: 1,
    _PHOTOMETRIC.RGB: 3,
    _PHOTOMETRIC.YCBCR: 3,
    _PHOTOMETRIC.SEPARATED: 4,
}
"""Samples of a pixel that are grey values or colours; more are alpha or channels of their own."""
_COLOURS = (_PHOTOMETRIC.RGB, _PHOTOMETRIC.PALETTE, _PHOTOMETRIC.YCBCR, _PHOTOMETRIC.SEPARATED)
_JPEG = (
    tifffile.COMPRESSION.OJPEG,
    tifffile.COMPRESSION.JPEG,
    tifffile.COMPRESSION.ALT_JPEG,
    tifffile.COMPRESSION.JPEG_LOSSY,
)
"""Compressions that decode YCbCr to RGB."""
_INKSET, _CMYK = 332, 1
_EIGHT_BITS = 256
_WHITE_IS_ZERO = "it stores white as 0 (WhiteIsZero), so its values were inverted, as viewers show it"


def is_colour_page(page: Any) -> bool:
    """Whether a page has colours, from its tags."""
    return page.photometric in _COLOURS


def check_colours(page: Any, path: Path) -> None:
    """Raise InputError for a page of a colour space that is not read, ValueError for a missing palette."""
    space = page.photometric
    name = getattr(space, "name", str(space))
    jpeg2000 = page.compression == tifffile.COMPRESSION.APERIO_JP2000_YCBC
    if space not in _SAMPLES or jpeg2000 or (space == _PHOTOMETRIC.YCBCR and page.compression not in _JPEG):
        finding = f"has colours as {'YCBCR' if jpeg2000 else name}, compressed as {page.compression.name}"
        raise file_error(path, finding, "convert it to RGB or grey")
    if space == _PHOTOMETRIC.PALETTE and page.colormap is None:
        raise ValueError("its palette is missing")
    inks = page.tags.valueof(_INKSET, _CMYK)
    known = inks == _CMYK and page.samplesperpixel >= _SAMPLES[_PHOTOMETRIC.SEPARATED]
    if space == _PHOTOMETRIC.SEPARATED and not (known and str(page.dtype) in ("uint8", "uint16")):
        raise file_error(
            path, f"has {page.samplesperpixel} inks of type {page.dtype}", "convert it to RGB or grey"
        )


def channel_counts(page: Any) -> set[int]:
    """How many channels the image can have, from its tags; two where they do not state what a sample is."""
    colours, stored = _SAMPLES[page.photometric], int(page.samplesperpixel)
    shown = 3 if is_colour_page(page) else colours
    extra = max(0, stored - colours)
    unstated = sum(not is_alpha(page.extrasamples, place) for place in range(extra))
    return {shown + unstated, shown} if extra == 1 else {shown + unstated}


def colour_notes(page: Any) -> tuple[str, ...]:
    """What `as_displayed` changes in the values of an image, see `Volume.notes`."""
    notes = {_PHOTOMETRIC.MINISWHITE: _WHITE_IS_ZERO, _PHOTOMETRIC.SEPARATED: INKS}
    return (notes[page.photometric],) if page.photometric in notes else ()


def as_displayed(
    array: NDArray[Any], page: Any, path: Path, kind: Kind, keep_unstated: bool = False
) -> NDArray[Any]:
    """Stored samples or channels (C, ...) of pages like `page` as displayed, (M, ...).

    `keep_unstated` is for `drop_alpha`. Raises InputError for pixels that are transparent, and what
    `invert_grey` refuses.
    """
    space, bits = page.photometric, int(page.bitspersample)
    if page.samplesperpixel > 1:
        array = drop_alpha(array, path, _SAMPLES[space], page.extrasamples, bits, keep_unstated)
    if space == _PHOTOMETRIC.MINISWHITE:
        grey = 1 if page.samplesperpixel > 1 else len(array)
        shown = invert_grey(array[:grey], bits, path, kind)
        return np.concatenate([shown, array[grey:]]) if grey < len(array) else shown
    if space == _PHOTOMETRIC.PALETTE and kind == "image":
        return _palette(page.colormap)[:, _as_index(array[0])]
    if space == _PHOTOMETRIC.SEPARATED:
        if len(array) != _SAMPLES[space]:
            raise file_error(path, f"has {len(array)} inks", "convert it to RGB or grey")
        return cmyk_to_rgb(array)
    return array


def _palette(stored: NDArray[Any]) -> NDArray[np.uint8]:
    """The colours (3, 2^bits) with 8 bits; some programs store them so already."""
    return stored.astype(np.uint8) if stored.max() < _EIGHT_BITS else (stored >> 8).astype(np.uint8)


def _as_index(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.uint8) if array.dtype.kind == "b" else array
