"""Decide which of the files to predict are channels of one image, and which are separate images.

`NAME_0000`, `NAME_0001` ... are the channels of image NAME in nnU-Net's convention, and may as well be the
tiles of a slide or the frames of a cine. Volumes follow the convention. For 2D raster images, their colours
and the way the model's training images were stored decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ldseg.data.file_names import Files, by_stem, complete_groups, counting_groups
from ldseg.data.formats import format_of, is_colour, read_volume
from ldseg.data.volume import Axes
from ldseg.errors import InputError

_NNUNET_FOLDERS = ("imagestr", "imagests", "imagesval")
_COLOURS = 3
"""Number of channels of a colour model; gray images are repeated to it."""


@dataclass(frozen=True)
class Grouping:
    """The files of each image."""

    files: Files
    note: str = ""
    """How the channels were determined where the names are ambiguous; else empty."""
    spacings: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """Image to the spacing that its data set gives, for those that have one there."""


def group_inputs(
    paths: Sequence[Path], channels: int, axes: Axes | None = None, channel_files: bool | None = None
) -> Grouping:
    """Return the files of each image.

    `channels` and `axes` are those of the model; `channel_files` says whether its training images were
    named NAME_0000 ..., None if unknown. A suffix only counts as a channel's when every name counts from
    0000 to at most `channels` files. Raises InputError for an image that lacks some of its channel files; one
    file alone may hold all channels.
    """
    groups = counting_groups(paths)
    if groups is None:
        return Grouping(by_stem(paths))
    most = max(len(files) for files in groups.values())
    if most > channels:
        return Grouping(by_stem(paths))
    several = _first_multichannel(paths) if most > 1 else None
    if several is not None:
        why = (
            f"{several.name} holds several channels itself, so files numbered like it are no channels of one"
        )
        return Grouping(by_stem(paths), f"an image of its own: {why}")
    in_nnunet = all(path.parent.name.lower() in _NNUNET_FOLDERS for path in paths)
    volumes = axes not in (None, "yx") or any(format_of(path).has_geometry for path in paths)
    if channel_files or in_nnunet or volumes:
        return Grouping(complete_groups(groups, channels))
    return _group_raster_images(groups, paths, channels, channel_files)


def _group_raster_images(
    groups: Mapping[str, Mapping[int, Path]],
    paths: Sequence[Path],
    channels: int,
    channel_files: bool | None,
) -> Grouping:
    """Return the files of each 2D image; the files are all gray, or each has a name of its own."""
    example = paths[0].name
    if max(len(files) for files in groups.values()) == 1:
        if channel_files is False or len(groups) == 1:
            return Grouping(by_stem(paths))
        note = f"_0000 is read as the number of a channel, for all names end with it ({example} ...)"
        return Grouping(complete_groups(groups, channels), note)
    complete = any(len(files) == channels for files in groups.values())
    # A colour model also takes a single gray image; with another number of channels it could not be one.
    if channels == _COLOURS and (channel_files is False or not complete):
        why = (
            "the model's training images were not stored so" if channel_files is False else "some are missing"
        )
        note = f"an image of its own: files numbered as {example} could be channels of one, but {why}"
        return Grouping(by_stem(paths), note)
    note = ""
    if channels == _COLOURS:
        note = f"files numbered as {example} are read as its channels; rename them if each is an image"
    return Grouping(complete_groups(groups, channels), note)


def _first_multichannel(paths: Sequence[Path]) -> Path | None:
    """Return the first file with several channels, by each 2D image's header or by reading one volume."""
    raster = [path for path in paths if format_of(path).is_colour is not None]
    found = next((path for path in raster if is_colour(path)), None)
    if found is not None or raster:
        return found
    try:
        return paths[0] if len(read_volume(paths[0], "image").array) > 1 else None
    except InputError:
        return None  # reading it later reports the error
