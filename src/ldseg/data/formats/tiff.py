"""Read and write TIFF with tifffile. Several pages are slices, or frames if the file declares them.

Voxels are read as displayed: the Orientation tag is applied and white stored as 0 is inverted, for images and
label maps alike, whatever the compression. The spacing is known only where ImageJ or OME metadata give it in
a unit of length. Channels other than colours, such as probabilities, are pages (axis C) of an OME-TIFF.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ldseg.data.formats.displayed import apply_orientation, orientation_note, swaps_axes
from ldseg.data.formats.format import Format
from ldseg.data.formats.tiff_check import check_chain, check_codec, check_series
from ldseg.data.formats.tiff_colours import as_displayed, colour_notes, is_colour_page
from ldseg.data.formats.tiff_pages import TiffImage, select_image
from ldseg.data.formats.tiff_spacing import spacing_of
from ldseg.data.geometry import AxisLayout, Grid, to_volume, unit_grid
from ldseg.data.volume import Axes, Kind, Volume
from ldseg.errors import InputError, file_error, suppress_stderr, translate_errors


def read(path: Path, kind: Kind, axes: Axes | None) -> Volume:
    """See `Format.read`."""
    with translate_errors(path, "TIFF"), open_tiff(path) as file:
        check_chain(file)
        tiff_image = select_image(file, path)
        check_codec(tiff_image.page, path)
        check_series(tiff_image.series, path)
        with suppress_stderr():  # decoders in C write warnings
            array = tiff_image.series.asarray()
        array, stack = _channels_first(array, tiff_image.series.axes, path)
        array = as_displayed(array, tiff_image.page, path, kind)
        said = spacing_of(file, tiff_image.series)
    array = apply_orientation(array, tiff_image.orientation)
    axes = _axes(array.shape, stack, axes, path)
    if axes == "yx":
        array = array[:, 0]
    grid, guessed = grid_of_tiff(said, axes, tiff_image)
    volume = to_volume(array, grid, AxisLayout(axes, tuple(range(len(axes)))), None)
    notes = (
        *tiff_image.notes,
        *orientation_note(tiff_image.orientation),
        *colour_notes(tiff_image.page),
        *guessed,
    )
    return replace(volume, notes=notes)


def grid_of_tiff(said: dict[str, float], axes: Axes, tiff_image: TiffImage) -> tuple[Grid, tuple[str, ...]]:
    """Return the grid of the displayed image from the steps `said` in the metadata, and notes.

    The steps are used if those along all spatial axes are known.
    """
    letters = [letter for letter in axes if letter != "t"]
    if swaps_axes(tiff_image.orientation):
        said = {{"x": "y", "y": "x"}.get(letter, letter): step for letter, step in said.items()}
    missing = [letter for letter in letters if letter not in said]
    notes: tuple[str, ...] = ()
    if missing and len(missing) < len(letters):
        notes = (f"its spacing along {' and '.join(missing)} is not known, so none is used",)
    known = said if not missing else {letter: step for letter, step in said.items() if letter == "t"}
    steps = tuple(known.get(letter, 1.0) for letter in reversed(axes))  # fastest first
    plain = unit_grid(len(axes))
    return Grid(steps, plain.origin, plain.direction, physical=not missing), notes


def write(path: Path, volume: Volume) -> None:
    """See `Format.write`. Writes an OME-TIFF for a spacing or several channels, else a plain TIFF."""
    array = volume.array if volume.kind == "labels" else volume.array.astype(np.float32)
    array = array.astype(np.uint8) if array.dtype == bool else array
    pages = array if len(array) > 1 else array[0]
    words = description(volume, len(array))
    tifffile.imwrite(path, pages, photometric="minisblack", compression="zlib", **words)


def description(volume: Volume, channels: int) -> dict[str, Any]:
    """Return tifffile's metadata arguments for a result of `channels` on the grid of `volume`."""
    letters = ("C" if channels > 1 else "") + volume.axes.upper()
    described = channels > 1 or volume.axes == "tyx" or volume.physical
    if not described:
        return {"ome": False, "metadata": None}
    words = {"axes": letters, **_ome_spacing(volume)}
    same = uuid.uuid5(uuid.NAMESPACE_OID, f"{channels} {volume.shape} {words}")  # reproducible
    return {"ome": True, "metadata": words | {"UUID": str(same)}}


def is_colour(path: Path) -> bool:
    """See `Format.is_colour`."""
    page = _first_page(path)
    return page is not None and is_colour_page(page)


def size_of_page(path: Path) -> int:
    """Return the number of pixels per page from the headers; 0 for a file that cannot be read."""
    page = _first_page(path)
    return 0 if page is None else int(page.imagewidth) * int(page.imagelength)


def _first_page(path: Path) -> Any:
    """Return the first page of the image, or None for a file that cannot be read."""
    try:
        with translate_errors(path, "TIFF"), open_tiff(path) as file:
            check_chain(file)
            return select_image(file, path).page
    except InputError:
        return None


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Return the opened file, without further files that its OME metadata may name."""
    return tifffile.TiffFile(path, _multifile=False)


def _channels_first(array: NDArray[Any], letters: str, path: Path) -> tuple[NDArray[Any], str]:
    """Return (M, N, Y, X) and the letter of the stack axis of length N ("" if there is none)."""
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
    return moved, letters[stack[0]] if stack else ""


def _axes(shape: tuple[int, ...], stack: str, asked: Axes | None, path: Path) -> Axes:
    """Return the axes of pages (M, N, Y, X). Raises InputError if they contradict the requested ones."""
    if asked == "yx" and shape[1] > 1:
        raise file_error(
            path, f"has {shape[1]} pages where a 2D image is expected", "save each page as a file of its own"
        )
    if asked is not None:
        return asked
    if shape[1] == 1:
        return "yx"
    return "tyx" if stack == "T" else "zyx"


def _ome_spacing(volume: Volume) -> dict[str, Any]:
    """Return the volume's known steps as OME metadata."""
    words: dict[str, Any] = {}
    for letter, step in zip(volume.axes, volume.spacing, strict=True):
        if letter == "t" and (volume.physical or step != 1.0):
            words |= {"TimeIncrement": step, "TimeIncrementUnit": "s"}
        elif letter != "t" and volume.physical:
            words |= {f"PhysicalSize{letter.upper()}": step, f"PhysicalSize{letter.upper()}Unit": "mm"}
    return words


# A damaged file is reported in one line; tifffile would log its own lines before that.
logging.getLogger("tifffile").addFilter(lambda record: record.levelno >= logging.CRITICAL)

TIFF = Format("TIFF", (".tif", ".tiff"), read, write, has_geometry=False, is_colour=is_colour)
