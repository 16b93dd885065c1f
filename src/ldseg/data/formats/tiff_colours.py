"""Convert a TIFF's samples to gray values or RGB colours, by its photometric interpretation.

Supported are gray values with black or white as 0, RGB, palettes, CMYK inks, and YCbCr compressed as JPEG;
other colour spaces are rejected. Label maps keep the indices of their palette.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ldseg.data.formats.displayed import INKS, cmyk_to_rgb, drop_alpha, invert_gray, is_alpha
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
"""Samples per pixel that are gray values or colours; further ones are alpha or other channels."""
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
    """Return whether a page has colours, from its tags."""
    return page.photometric in _COLOURS


def check_colours(page: Any, path: Path) -> None:
    """Raise InputError for an unsupported colour space, ValueError for a missing palette."""
    space = page.photometric
    name = getattr(space, "name", str(space))
    jpeg2000 = page.compression == tifffile.COMPRESSION.APERIO_JP2000_YCBC
    if space not in _SAMPLES or jpeg2000 or (space == _PHOTOMETRIC.YCBCR and page.compression not in _JPEG):
        finding = f"has colours as {'YCBCR' if jpeg2000 else name}, compressed as {page.compression.name}"
        raise file_error(path, finding, "convert it to RGB or gray")
    if space == _PHOTOMETRIC.PALETTE and page.colormap is None:
        raise ValueError("its palette is missing")
    inks = page.tags.valueof(_INKSET, _CMYK)
    known = inks == _CMYK and page.samplesperpixel >= _SAMPLES[_PHOTOMETRIC.SEPARATED]
    if space == _PHOTOMETRIC.SEPARATED and not (known and str(page.dtype) in ("uint8", "uint16")):
        raise file_error(
            path, f"has {page.samplesperpixel} inks of type {page.dtype}", "convert it to RGB or gray"
        )


def channel_counts(page: Any) -> set[int]:
    """Return the possible numbers of channels, from the tags; two if the extra sample is undeclared."""
    colours, stored = _SAMPLES[page.photometric], int(page.samplesperpixel)
    shown = 3 if is_colour_page(page) else colours
    extra = max(0, stored - colours)
    unstated = sum(not is_alpha(page.extrasamples, place) for place in range(extra))
    return {shown + unstated, shown} if extra == 1 else {shown + unstated}


def colour_notes(page: Any) -> tuple[str, ...]:
    """Return notes about the changes that `as_displayed` makes to the values of an image."""
    notes = {_PHOTOMETRIC.MINISWHITE: _WHITE_IS_ZERO, _PHOTOMETRIC.SEPARATED: INKS}
    return (notes[page.photometric],) if page.photometric in notes else ()


def as_displayed(
    array: NDArray[Any], page: Any, path: Path, kind: Kind, keep_unstated: bool = False
) -> NDArray[Any]:
    """Return stored samples or channels (C, ...) of pages like `page` as displayed, (M, ...).

    `keep_unstated` is for `drop_alpha`. Raises InputError for transparent pixels, and for what
    `invert_gray` refuses.
    """
    space, bits = page.photometric, int(page.bitspersample)
    if page.samplesperpixel > 1:
        array = drop_alpha(array, path, _SAMPLES[space], page.extrasamples, bits, keep_unstated)
    if space == _PHOTOMETRIC.MINISWHITE:
        gray = 1 if page.samplesperpixel > 1 else len(array)
        shown = invert_gray(array[:gray], bits, path, kind)
        return np.concatenate([shown, array[gray:]]) if gray < len(array) else shown
    if space == _PHOTOMETRIC.PALETTE and kind == "image":
        stored = page.colormap  # (3, 2^bits); some programs store 8 bits, most 16
        palette = (stored if stored.max() < _EIGHT_BITS else stored >> 8).astype(np.uint8)
        return palette[:, array[0].astype(np.uint8) if array.dtype.kind == "b" else array[0]]
    if space == _PHOTOMETRIC.SEPARATED:
        if len(array) != _SAMPLES[space]:
            raise file_error(path, f"has {len(array)} inks", "convert it to RGB or gray")
        return cmyk_to_rgb(array)
    return array
