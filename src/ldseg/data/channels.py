"""Which of the files to predict are channels of one image, and which are images of their own.

`NAME_0000`, `NAME_0001` ... are the channels of image NAME in nnU-Net's convention, and may as well be the
tiles of a slide or the frames of a film. Volumes follow the convention. Pictures are decided by their colours
and by how the model's training images were stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ldseg.data.file_names import Files, by_stem, complete_groups, counting_groups
from ldseg.data.formats import format_of, is_colour, read_volume
from ldseg.data.volume import Axes
from ldseg.errors import InputError

_NNUNET_FOLDERS = ("imagestr", "imagests", "imagesval")
_COLOURS = 3
"""A grey picture is taken for an image of so many channels: it is repeated."""


@dataclass(frozen=True)
class Grouping:
    """The files of each image."""

    files: Files
    note: str = ""
    """How it was decided what is a channel, where the names do not say it alone; else empty."""


def group_inputs(
    paths: Sequence[Path], channels: int, axes: Axes | None = None, channel_files: bool | None = None
) -> Grouping:
    """Return the files of each image.

    `channels` and `axes` are what the model takes; `channel_files` says whether its training images were
    named NAME_0000 ..., None where nobody knows. A suffix is only a channel's when every name counts from
    0000 to at most `channels` files. Raises InputError for an image that lacks some of its channel files; one
    file alone may hold all channels.
    """
    groups = counting_groups(paths)
    if groups is None:
        return Grouping(by_stem(paths))
    most = max(len(files) for files in groups.values())
    if most > channels:
        return Grouping(by_stem(paths))
    several = _holding_several(paths) if most > 1 else None
    if several is not None:
        why = (
            f"{several.name} holds several channels itself, so files numbered like it are no channels of one"
        )
        return Grouping(by_stem(paths), f"an image of its own: {why}")
    in_nnunet = all(path.parent.name.lower() in _NNUNET_FOLDERS for path in paths)
    volumes = axes not in (None, "yx") or any(format_of(path).has_geometry for path in paths)
    if channel_files or in_nnunet or volumes:
        return Grouping(complete_groups(groups, channels))
    return _group_pictures(groups, paths, channels, channel_files)


def _group_pictures(
    groups: Mapping[str, Mapping[int, Path]],
    paths: Sequence[Path],
    channels: int,
    channel_files: bool | None,
) -> Grouping:
    """Pictures in 2D: each is alone with its name, or all are grey."""
    example = paths[0].name
    if max(len(files) for files in groups.values()) == 1:
        if channel_files is False or len(groups) == 1:
            return Grouping(by_stem(paths))
        note = f"_0000 is read as the number of a channel, for all names end with it ({example} ...)"
        return Grouping(complete_groups(groups, channels), note)
    complete = any(len(files) == channels for files in groups.values())
    # A grey picture is an image for a model of colours; for another number of channels it could be none.
    if channels == _COLOURS and (channel_files is False or not complete):
        why = (
            "the model's training images were not stored so" if channel_files is False else "some are missing"
        )
        note = f"an image of its own: pictures numbered as {example} could be channels of one, but {why}"
        return Grouping(by_stem(paths), note)
    note = ""
    if channels == _COLOURS:
        note = f"pictures numbered as {example} are read as its channels; rename them if each is an image"
    return Grouping(complete_groups(groups, channels), note)


def _holding_several(paths: Sequence[Path]) -> Path | None:
    """The first file with several channels: a header is looked at in each picture, one volume is read."""
    pictures = [path for path in paths if format_of(path).is_colour is not None]
    found = next((path for path in pictures if is_colour(path)), None)
    if found is not None or pictures:
        return found
    try:
        return paths[0] if len(read_volume(paths[0], "image").array) > 1 else None
    except InputError:
        return None  # reading it later says what is wrong
