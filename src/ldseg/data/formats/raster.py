"""PNG, BMP and JPEG with Pillow: 2D, spacing 1.0, no place in the world.

Palette files are colours as images and indices as masks. Opaque alpha is dropped. Pixels are taken as they
are stored: an EXIF rotation is not applied, because masks are drawn on the stored grid.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ldseg.data.faults import decoding, file_error
from ldseg.data.formats.format import Format
from ldseg.data.geometry import Arrangement, plain_grid, to_volume
from ldseg.data.room import check_room
from ldseg.data.volumes import Axes, Kind, Volume
from ldseg.errors import InputError

_FORMATS = ("PNG", "BMP", "DIB", "JPEG", "MPO")
"""By content, whatever the ending: others of Pillow's run programs (EPS) or are no pictures."""
_SCAN, _MOST_SCANS = b"\xff\xda", 200
"""Begins a scan of a progressive JPEG, each of which costs the whole picture; cameras write about ten."""
_GREY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def read(path: Path, kind: Kind, axes: Axes | None) -> Volume:
    """See `Format.read`. A 16-bit colour PNG comes with 8 bits a channel, as Pillow gives it."""
    if axes not in (None, "yx"):
        raise file_error(path, f"is a 2D format but axes {axes} were asked for", "choose --data.axes yx")
    with decoding(path, "PNG, BMP or JPEG"):
        array = _decode(path, kind)
    return to_volume(without_alpha(array, path), plain_grid(2), Arrangement("yx", (0, 1)), None)


def is_colour(path: Path) -> bool:
    """See `Format.is_colour`."""
    try:
        with decoding(path, "PNG, BMP or JPEG"), Image.open(path, formats=_FORMATS) as image:
            return image.mode not in (*_GREY, "LA")
    except InputError:
        return False  # reading it says what is wrong


def _decode(path: Path, kind: Kind) -> NDArray[Any]:
    """(C, Y, X), C = 2 or 4 when there is alpha."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.format in ("JPEG", "MPO") and path.read_bytes().count(_SCAN) > _MOST_SCANS:
                raise ValueError(f"it has more than {_MOST_SCANS} scans")
            check_room(path, image.width * image.height, 4 * len(image.getbands()))
            image.load()
            if image.mode == "P" and kind == "image":
                image = image.convert("RGBA" if "transparency" in image.info else "RGB")
            elif image.mode not in (*_GREY, "P", "LA", "RGB", "RGBA"):
                image = image.convert("RGBA" if "A" in image.mode else "RGB")  # CMYK, YCbCr, PA ...
            array = np.asarray(image)
    except Image.DecompressionBombError as problem:
        raise file_error(path, str(problem), "save so large an image as TIFF") from problem
    return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)


def without_alpha(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """(C, *S) without its last channel when C is 2 or 4 and that channel is opaque.

    Raises InputError for real transparency: what lies under it is not part of the picture that a person sees.
    """
    if len(array) not in (2, 4):
        return array
    opaque = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
    clear = int(np.count_nonzero(array[-1] != opaque))
    if clear:
        raise file_error(
            path, f"{clear} pixels are transparent", "flatten the image onto a background, without alpha"
        )
    return array[:-1]


def write(path: Path, volume: Volume) -> None:
    """See `Format.write`. Whole numbers only: 8 bits, or 16 bits for one channel in PNG."""
    array = volume.array
    channels, largest = len(array), 65535 if path.suffix.lower() == ".png" and len(array) == 1 else 255
    if volume.axes != "yx" or channels not in (1, 3):
        finding = f"{path.suffix} cannot hold {volume.axes} with {channels} channels"
        raise file_error(path, finding, "write .tif or .nii.gz")
    if array.min() < 0 or array.max() > largest or not np.array_equal(array, np.rint(array)):
        finding = f"{path.suffix} holds whole numbers from 0 to {largest} only"
        raise file_error(path, finding, "write .tif or .nii.gz")
    pixels = array.astype(np.uint8 if array.max() <= 255 else np.uint16)
    picture = Image.fromarray(pixels[0] if channels == 1 else np.moveaxis(pixels, 0, -1))
    encoded = BytesIO()
    picture.save(encoded, path.suffix[1:].lower())
    path.write_bytes(encoded.getvalue())  # Pillow itself does not notice a full disk


def refuse(path: Path, volume: Volume) -> None:
    """JPEG changes the numbers it is given, so nothing is written as JPEG."""
    del volume
    raise file_error(path, "JPEG is lossy and would change the values", "write .png")


RASTER = Format("PNG or BMP", (".png", ".bmp"), read, write, has_geometry=False, is_colour=is_colour)
JPEG = Format("JPEG", (".jpg", ".jpeg"), read, refuse, has_geometry=False, is_colour=is_colour)
