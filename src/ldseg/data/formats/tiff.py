"""TIFF with tifffile: grey, colour and palette; several pages are slices, or frames where the file says so.

The spacing is 1.0 unless ImageJ or OME metadata give it in a unit of length: a bare resolution tag is a
printer's matter. Channels that are not colours, such as probabilities, are pages (axis C) of an OME-TIFF.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from ldseg.data.faults import decoding, file_error, muted
from ldseg.data.formats.format import Format
from ldseg.data.formats.raster import without_alpha
from ldseg.data.formats.tiff_check import check_chain, check_series
from ldseg.data.geometry import Arrangement, Grid, plain_grid, to_volume
from ldseg.data.volumes import Axes, Kind, Volume
from ldseg.errors import InputError

_MICROMETRE_NAMES = ("um", "µm", "μm", "\\u00b5m", "micron", "microns")
_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1e3, "nm": 1e-6} | dict.fromkeys(_MICROMETRE_NAMES, 1e-3)


def read(path: Path, kind: Kind, axes: Axes | None) -> Volume:
    """See `Format.read`."""
    with decoding(path, "TIFF"), open_tiff(path) as file:
        check_chain(file)
        if not file.series:
            raise ValueError("it has no pages")
        check_series(file.series[0], path)
        array, letters = _decode(file, path, kind)
        spacing = spacing_of_file(file)
    array, stack = _channels_first(array, letters, path)
    axes = _axes(array.shape, stack, axes, path)
    if axes == "yx":
        array = array[:, 0]
    dimensions = len(axes)
    plain = plain_grid(dimensions)
    steps = tuple(spacing.get(letter, 1.0) for letter in reversed(axes))  # fastest first
    grid = Grid(steps, plain.origin, plain.direction)
    return to_volume(array, grid, Arrangement(axes, tuple(range(dimensions))), None)


def write(path: Path, volume: Volume) -> None:
    """See `Format.write`. OME-TIFF for a spacing or several channels, else a plain one."""
    array = volume.array if volume.kind == "labels" else volume.array.astype(np.float32)
    array = array.astype(np.uint8) if array.dtype == bool else array
    pages = array if len(array) > 1 else array[0]
    words = description(volume, len(array))
    tifffile.imwrite(path, pages, photometric="minisblack", compression="zlib", **words)


def description(volume: Volume, channels: int) -> dict[str, Any]:
    """What tifffile is told of a result with `channels` on the grid of `volume`."""
    letters = ("C" if channels > 1 else "") + volume.axes.upper()
    described = (
        channels > 1
        or volume.axes == "tyx"
        or (volume.physical and any(step != 1.0 for step in volume.spacing))
    )
    return {"ome": described, "metadata": {"axes": letters, **_ome_spacing(volume)} if described else None}


def is_colour(path: Path) -> bool:
    """See `Format.is_colour`."""
    try:
        with decoding(path, "TIFF"), open_tiff(path) as file:
            return file.pages.first.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.PALETTE)
    except InputError:
        return False  # reading it says what is wrong


def size_of_page(path: Path) -> int:
    """Pixels of the first page, from the header alone; 0 for a damaged file."""
    try:
        with decoding(path, "TIFF"), open_tiff(path) as file:
            return int(file.pages.first.imagewidth) * int(file.pages.first.imagelength)
    except InputError:
        return 0  # reading it says what is wrong


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Of this file alone: OME metadata may name others, which nobody asked to be read."""
    return tifffile.TiffFile(path, _multifile=False)


def _decode(file: tifffile.TiffFile, path: Path, kind: Kind) -> tuple[NDArray[Any], str]:
    """The first series and one letter for each of its axes."""
    series = file.series[0]
    page = file.pages.first
    letters = series.axes
    try:
        array = series.asarray()
    except ValueError as problem:
        if "imagecodecs" not in str(problem):
            raise
        array = _with_pillow(path).reshape(series.shape)  # LZW and JPEG without another package
    if kind == "image" and page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        colours = (page.colormap >> 8).astype(np.uint8)  # (3, 2^bits), 16-bit
        return colours[:, array], "S" + letters
    return array, letters


def _with_pillow(path: Path) -> NDArray[Any]:
    """All pages, (pages, Y, X[, S])."""
    with muted(), Image.open(path, formats=("TIFF",)) as image:
        return np.stack([np.asarray(page) for page in ImageSequence.Iterator(image)])


def _channels_first(array: NDArray[Any], letters: str, path: Path) -> tuple[NDArray[Any], str]:
    """(M, N, Y, X) and the letter of the stack axis of length N ("" when there is none)."""
    colour = [n for n, letter in enumerate(letters) if letter in "SC" and array.shape[n] > 1]
    stack = [n for n, letter in enumerate(letters) if letter not in "SCYX" and array.shape[n] > 1]
    if len(colour) > 1 or len(stack) > 1:
        finding = f"has axes {letters} of shape {array.shape}"
        raise file_error(path, finding, "save one stack of slices or frames, with one axis of channels")
    order = [*colour, *stack, letters.index("Y"), letters.index("X")]
    rest = [n for n in range(array.ndim) if n not in order]
    moved = array.transpose(*rest, *order)
    channels = array.shape[colour[0]] if colour else 1
    pages = array.shape[stack[0]] if stack else 1
    moved = moved.reshape(channels, pages, *moved.shape[-2:])
    is_colour = bool(colour) and letters[colour[0]] == "S"
    return without_alpha(moved, path) if is_colour else moved, letters[stack[0]] if stack else ""


def _axes(shape: tuple[int, ...], stack: str, asked: Axes | None, path: Path) -> Axes:
    """What the pages (M, N, Y, X) are."""
    if asked == "yx" and shape[1] > 1:
        raise file_error(path, f"has {shape[1]} pages but 2D was asked for", "choose --data.axes zyx or tyx")
    if asked is not None:
        return asked
    if shape[1] == 1:
        return "yx"
    return "tyx" if stack == "T" else "zyx"


def spacing_of_file(file: tifffile.TiffFile) -> dict[str, float]:
    """Steps by axis letter (z, y, x in mm, t in s), as far as ImageJ or OME metadata tell."""
    if file.is_ome and file.ome_metadata:
        return _from_ome(file.ome_metadata)
    if file.is_imagej and file.imagej_metadata:
        return _from_imagej(file)
    return {}


def _from_ome(text: str) -> dict[str, float]:
    """Steps in OME-XML; its unit of length is the micrometre unless it says another."""
    pixels = next(
        (node for node in ElementTree.fromstring(text).iter() if node.tag.endswith("}Pixels")), None
    )
    if pixels is None:
        return {}
    found: dict[str, float] = {}
    for letter in "zyx":
        value = pixels.get(f"PhysicalSize{letter.upper()}")
        factor = _MILLIMETRES.get(pixels.get(f"PhysicalSize{letter.upper()}Unit", "µm"))
        if value is not None and factor is not None and float(value) > 0:
            found[letter] = float(value) * factor
    step = pixels.get("TimeIncrement")
    if step is not None and pixels.get("TimeIncrementUnit", "s") == "s" and float(step) > 0:
        found["t"] = float(step)
    return found


def _from_imagej(file: tifffile.TiffFile) -> dict[str, float]:
    """Steps in ImageJ's metadata; x and y are in the resolution tags, as pixels per unit."""
    metadata: dict[str, Any] = file.imagej_metadata or {}
    factor = _MILLIMETRES.get(str(metadata.get("unit", "")).lower())
    found: dict[str, float] = {}
    if float(metadata.get("finterval", 0) or 0) > 0:
        found["t"] = float(metadata["finterval"])
    if factor is None:
        return found
    for letter, name in (("x", "XResolution"), ("y", "YResolution")):
        tag = file.pages.first.tags.get(name)
        if tag is not None and tag.value[0] > 0:
            found[letter] = tag.value[1] / tag.value[0] * factor
    if float(metadata.get("spacing", 0) or 0) > 0:
        found["z"] = float(metadata["spacing"]) * factor
    return found


def _ome_spacing(volume: Volume) -> dict[str, Any]:
    """The volume's steps in the words of OME."""
    words: dict[str, Any] = {}
    for letter, step in zip(volume.axes, volume.spacing, strict=True):
        if letter == "t":
            words |= {"TimeIncrement": step, "TimeIncrementUnit": "s"}
        elif volume.physical:
            words |= {f"PhysicalSize{letter.upper()}": step, f"PhysicalSize{letter.upper()}Unit": "mm"}
    return words


# A damaged file is one line of ours; tifffile would log its own lines before that.
logging.getLogger("tifffile").addFilter(lambda record: record.levelno >= logging.CRITICAL)

TIFF = Format("TIFF", (".tif", ".tiff"), read, write, has_geometry=False, is_colour=is_colour)
