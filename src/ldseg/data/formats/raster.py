"""Read and write PNG, BMP and JPEG (reading only): 2D images without geometry.

Pixels are read as displayed: the EXIF orientation is applied to images and label maps alike. Palette
files give colours for images and indices for label maps. Opaque alpha is dropped, transparency rejected.
Pillow decodes all but 16-bit PNGs, whose colours it reduces to 8 bits; imagecodecs decodes those.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ldseg.data.formats.displayed import (
    INKS,
    KNOWN_ORIENTATIONS,
    ORIENTATION,
    UPRIGHT,
    apply_orientation,
    drop_alpha,
    orientation_note,
    transparency_error,
)
from ldseg.data.formats.format import Format
from ldseg.data.geometry import AxisLayout, to_volume, unit_grid
from ldseg.data.volume import Axes, Kind, Volume
from ldseg.errors import InputError, file_error, suppress_stderr, translate_errors
from ldseg.utils.system import require_memory

_FORMATS = ("PNG", "BMP", "DIB", "JPEG")
"""Formats accepted by content, whatever the ending; some other Pillow formats run programs (EPS).
Several JPEGs in one file (MPO) are found by JPEG."""
_SCAN, _MOST_SCANS = b"\xff\xda", 200
"""Marker of a progressive JPEG's scan, each of which costs a full decoding; cameras write about ten."""
_GRAY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_BIT_DEPTH, _DEEP = 24, 16
"""Offset of the bit depth in a PNG, and its largest value."""
_ALPHA = (2,)
"""Value of TIFF's ExtraSamples for `drop_alpha`: alpha that is not premultiplied."""


def read(path: Path, kind: Kind, axes: Axes | None) -> Volume:
    """See `Format.read`."""
    if axes not in (None, "yx"):
        remedy = "stack the slices or frames in one file, e.g. .nii.gz or .tif"
        raise file_error(path, f"is a 2D image where axes {axes} are expected", remedy)
    with translate_errors(path, "PNG, BMP or JPEG"), _opened(path) as image:
        array, notes = _decode(path, image, kind)
        orientation = _orientation(image)
    volume = to_volume(apply_orientation(array, orientation), unit_grid(2), AxisLayout("yx", (0, 1)), None)
    return replace(volume, notes=(*notes, *orientation_note(orientation)))


def is_colour(path: Path) -> bool:
    """See `Format.is_colour`."""
    try:
        with translate_errors(path, "PNG, BMP or JPEG"), Image.open(path, formats=_FORMATS) as image:
            return image.mode not in (*_GRAY, "LA")
    except InputError:
        return False  # reading it reports the error


@contextmanager
def _opened(path: Path) -> Generator[Image.Image, None, None]:
    """Yield the opened image. Raises InputError or ValueError if it cannot be decoded safely."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.format in ("JPEG", "MPO") and path.read_bytes().count(_SCAN) > _MOST_SCANS:
                raise ValueError(f"it has more than {_MOST_SCANS} scans")
            require_memory(path, image.width * image.height, 4 * len(image.getbands()))
            yield image
    except Image.DecompressionBombError as problem:
        raise file_error(path, str(problem), "save so large an image as TIFF") from problem


def _decode(path: Path, image: Image.Image, kind: Kind) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the stored pixels (C, Y, X) without alpha, and notes."""
    count, notes = getattr(image, "n_frames", 1), ()
    if count > 1 and image.format != "MPO":
        raise file_error(path, f"is an animation of {count} images", "save each one as a file of its own")
    if count > 1:
        notes = (f"of its {count} images the first was read, which viewers show",)
    image.load()
    if kind == "image":
        _check_colour_key(path, image)
    if image.mode == "P" and kind == "image":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode not in (*_GRAY, "P", "LA", "RGB", "RGBA"):
        notes = (*notes, INKS) if image.mode == "CMYK" else notes
        image = image.convert("RGBA" if "A" in image.mode else "RGB")  # CMYK, YCbCr, PA ...
    array = _png_16_bit_pixels(path) if _is_16_bit_png(path) else np.asarray(image)
    array = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    colours = len(array) - 1 if len(array) in (2, 4) else len(array)
    return drop_alpha(array, path, colours, _ALPHA, 8 * array.dtype.itemsize), notes


def _is_16_bit_png(path: Path) -> bool:
    """Return whether the file is a PNG with 16 bits per channel."""
    with path.open("rb") as file:
        header = file.read(_BIT_DEPTH + 1)
    return header.startswith(b"\x89PNG") and header[_BIT_DEPTH] == _DEEP


def _png_16_bit_pixels(path: Path) -> NDArray[Any]:
    """Return the pixels (Y, X[, C]) of a 16-bit PNG."""
    import imagecodecs  # imported here: few images need it

    with suppress_stderr():
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))


def _check_colour_key(path: Path, image: Image.Image) -> None:
    """Raise InputError if any pixel has the value that the file declares transparent."""
    key = image.info.get("transparency")
    if image.mode not in (*_GRAY, "RGB") or key is None:
        return
    pixels = _png_16_bit_pixels(path) if _is_16_bit_png(path) else np.asarray(image)
    colours = pixels[..., : len(key)] if isinstance(key, tuple) else pixels
    same = colours == np.asarray(key)
    clear = int(np.count_nonzero(same.all(-1) if isinstance(key, tuple) else same))
    if clear:
        raise transparency_error(path, clear)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a loaded image; damaged EXIF is ignored, as in viewers."""
    try:
        found = image.getexif().get(ORIENTATION, UPRIGHT)
    except (SyntaxError, ValueError, KeyError, TypeError, OverflowError, OSError, struct.error):
        return UPRIGHT
    return int(found) if found in KNOWN_ORIENTATIONS else UPRIGHT


def write(path: Path, volume: Volume) -> None:
    """See `Format.write`. Only integers are supported: 8 bits, or 16 bits for one channel in PNG."""
    array = volume.array
    channels, largest = len(array), 65535 if path.suffix.lower() == ".png" and len(array) == 1 else 255
    if volume.axes != "yx" or channels not in (1, 3):
        finding = f"{path.suffix} cannot hold {volume.axes} with {channels} channels"
        raise file_error(path, finding, "write .tif or .nii.gz")
    if array.min() < 0 or array.max() > largest or not np.array_equal(array, np.rint(array)):
        finding = f"{path.suffix} holds whole numbers from 0 to {largest} only"
        raise file_error(path, finding, "write .tif or .nii.gz")
    pixels = array.astype(np.uint8 if array.max() <= 255 else np.uint16)
    image = Image.fromarray(pixels[0] if channels == 1 else np.moveaxis(pixels, 0, -1))
    encoded = BytesIO()
    image.save(encoded, path.suffix[1:].lower())
    path.write_bytes(encoded.getvalue())  # Pillow itself does not detect a full disk


def refuse(path: Path, volume: Volume) -> None:
    """Raise InputError: JPEG is lossy, so it is never written."""
    del volume
    raise file_error(path, "JPEG is lossy and would change the values", "write .png")


RASTER = Format("PNG or BMP", (".png", ".bmp"), read, write, has_geometry=False, is_colour=is_colour)
JPEG = Format("JPEG", (".jpg", ".jpeg"), read, refuse, has_geometry=False, is_colour=is_colour)
