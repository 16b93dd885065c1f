"""Detect whether a data set holds 2D images or volumes; most images decide, not the first one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ldseg.data.align import LARGEST_ROUNDING
from ldseg.data.formats import format_of, read_channels, read_volume
from ldseg.data.splits import evenly_spaced
from ldseg.data.volume import Axes, Kind, Volume
from ldseg.errors import InputError

_LOOKED_AT = 9
"""Maximum number of images that are read if the first has one slice."""


def representative_volume(
    images: Sequence[tuple[Path, ...]], axes: Axes | None, kind: Kind = "image"
) -> Volume:
    """Return the first image (or label map) that is readable and has the axes of the data set.

    With `axes` None they are those of most images, those of volumes in a tie: a volume of one slice
    can be among volumes, a deep volume among 2D images is a mistake. Raises the first InputError if none
    can be read.
    """
    first = _first_readable(images, axes, kind)
    # Several slices in the first one show a set of volumes; 2D formats (but TIFF) have no slices at all.
    formats = [format_of(files[0]) for files in images]
    may_have_slices = any(form.has_geometry or form.name == "TIFF" for form in formats)
    if axes is not None or first.axes != "yx" or len(images) == 1 or not may_have_slices:
        return first
    sample: list[Volume] = []
    for files in evenly_spaced(images, _LOOKED_AT):
        with suppress(InputError):  # reading it for use reports the error
            sample.append(_read(files, None, kind))
    deep = [image for image in sample if image.axes != "yx"]
    return deep[0] if 2 * len(deep) >= len(sample) and deep else first


def _first_readable(images: Sequence[tuple[Path, ...]], axes: Axes | None, kind: Kind) -> Volume:
    """Return the first image that can be read. Raises the first InputError if none can be."""
    first: InputError | None = None
    for files in images:
        try:
            return _read(files, axes, kind)
        except InputError as problem:
            first = first or problem
    raise first or InputError("there is nothing to read; give a folder with images")


def _read(files: tuple[Path, ...], axes: Axes | None, kind: Kind) -> Volume:
    return (
        read_channels(files, axes, LARGEST_ROUNDING) if kind == "image" else read_volume(files[0], kind, axes)
    )
