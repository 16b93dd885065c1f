"""Whether a set holds pictures or volumes, where nobody says it: most images decide, not the first one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ldseg.data.align import LARGEST_ROUNDING
from ldseg.data.formats import format_of, read_channels, read_volume
from ldseg.data.splits import evenly
from ldseg.data.volume import Axes, Kind, Volume
from ldseg.errors import InputError

_LOOKED_AT = 9
"""Images that are read at most where the first has one slice."""


def representative_volume(
    images: Sequence[tuple[Path, ...]], axes: Axes | None, kind: Kind = "image"
) -> Volume:
    """Return the first image (or label map) that is readable and has the axes of the set.

    With `axes` None they are those of most images, of several slices where it is even: a volume of one slice
    can be among volumes, a volume of many among pictures is a mistake. Raises the first InputError when none
    can be read.
    """
    first = _first_readable(images, axes, kind)
    # Several slices in the first one show a set of volumes, and a format of pictures has no slices at all.
    if axes is not None or first.axes != "yx" or len(images) == 1 or not _may_have_slices(images):
        return first
    looked_at = [image for image in (_try(files, kind) for files in evenly(images, _LOOKED_AT)) if image]
    deep = [image for image in looked_at if image.axes != "yx"]
    return deep[0] if 2 * len(deep) >= len(looked_at) and deep else first


def _may_have_slices(images: Sequence[tuple[Path, ...]]) -> bool:
    """Whether any file is of a format of volumes; TIFF is of both."""
    return any(format_of(files[0]).has_geometry or format_of(files[0]).name == "TIFF" for files in images)


def _first_readable(images: Sequence[tuple[Path, ...]], axes: Axes | None, kind: Kind) -> Volume:
    """The first one that can be read; its first InputError when none can be."""
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


def _try(files: tuple[Path, ...], kind: Kind) -> Volume | None:
    """None for what cannot be read, which reading it for use reports."""
    try:
        return _read(files, None, kind)
    except InputError:
        return None
