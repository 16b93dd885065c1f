"""From file names to case names: folders, channel suffixes (`_0000`), rater suffixes (`_rater1`)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ldseg.data.faults import file_error
from ldseg.data.formats import is_volume, stem

_CHANNEL = re.compile(r"^(.+)_(\d{4})$")
_RATER = re.compile(r"^(.+)_rater(\d+)$")

Files = dict[str, tuple[Path, ...]]
"""Case name to its files: the channels of an image, or the raters' masks."""


def check_name(name: str, path: Path) -> None:
    """Raise InputError for the name of a case that cannot be written into files: it is not in UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise file_error(path, "its name is not in UTF-8", "rename it") from problem


def volumes_in(folder: Path) -> list[Path]:
    """The image files directly in `folder`, ascending by name; hidden and other files are passed over."""
    return sorted((path for path in folder.iterdir() if is_volume(path)), key=lambda path: path.name)


def by_stem(paths: Iterable[Path]) -> Files:
    """One file a case. Raises InputError when two files would be one case (a.png and a.jpg)."""
    found: dict[str, Path] = {}
    for path in paths:
        name = stem(path)
        if name in found:
            remedy = "rename or remove one of the two"
            raise file_error(path, f"is a second file of case {name} beside {found[name]}", remedy)
        found[name] = path
    return {name: (path,) for name, path in found.items()}


def channel_groups(paths: Sequence[Path], channels: int) -> Files:
    """Files per case, with `_0000`, `_0001` ... read as the channels of one image where all files say so.

    A suffix is a channel's when every name counts from 0000 to at most `channels` files. Frames of a
    film (`_0007`, or more files than channels) therefore keep their names. Raises InputError for an image
    that lacks some of its channel files; one file alone may hold all channels.
    """
    groups = counting_groups(paths)
    if groups is None or max(len(files) for files in groups.values()) > channels:
        return by_stem(paths)
    return complete_groups(groups, channels)


def complete_groups(groups: Mapping[str, Mapping[int, Path]], channels: int) -> Files:
    """Each image's files in the order of channels. Raises InputError for a missing one.

    An image of one file, `_0000`, is allowed to hold all channels itself; loading checks their number.
    """
    found: Files = {}
    for name, files in groups.items():
        numbers = sorted(files)
        if numbers not in ([0], list(range(channels))):
            first = files[numbers[0]]
            missing = sorted(set(range(channels)) - set(numbers))
            if not missing:
                finding = f"case {name} has {len(files)} channel files where {channels} are expected"
                raise file_error(first, finding, "remove the others or correct channel_names")
            wanted = ", ".join(f"_{number:04d}" for number in missing)
            raise file_error(first, f"case {name} has no channel {wanted}", "add the file or remove the case")
        found[name] = tuple(files[number] for number in numbers)
    return found


def counting_groups(paths: Sequence[Path]) -> dict[str, dict[int, Path]] | None:
    """`suffix_groups` when every file has a suffix and every name counts from 0000, else None."""
    if not paths or not all(has_suffix(path) for path in paths):
        return None
    groups = suffix_groups(paths)
    return groups if all(0 in files for files in groups.values()) else None


def has_suffix(path: Path) -> bool:
    """Whether the name ends like that of a channel file, `_0000`."""
    return _CHANNEL.match(stem(path)) is not None


def suffix_groups(paths: Sequence[Path]) -> dict[str, dict[int, Path]]:
    """Case name to number to file, for files that all have a suffix. Raises InputError for a number twice."""
    groups: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in paths:
        name, _, digits = stem(path).rpartition("_")
        number = int(digits)
        if number in groups[name]:
            finding = f"is a second file of channel {number} of case {name} beside {groups[name][number]}"
            raise file_error(path, finding, "rename or remove one of the two")
        groups[name][number] = path
    return dict(groups)


def rater_groups(paths: Sequence[Path], images: Iterable[str]) -> Files:
    """Masks per case: NAME, or NAME_rater1, NAME_rater2 ... in the order of raters.

    A name that is itself the name of an image is not taken apart.
    """
    names = set(images)
    single = by_stem(paths)
    raters: dict[str, dict[int, Path]] = defaultdict(dict)
    found: Files = {}
    for name, files in single.items():
        match = _RATER.match(name)
        if match is None or name in names:
            found[name] = files
        elif int(match[2]) in raters[match[1]]:
            finding = f"is a second mask of rater {int(match[2])} of case {match[1]}"
            raise file_error(files[0], finding, "rename or remove one of the two")
        else:
            raters[match[1]][int(match[2])] = files[0]
    for name, numbered in raters.items():
        if name in found:
            finding = f"case {name} has both a mask of its own name and masks of raters"
            raise file_error(
                found[name][0], finding, "name all masks of the case NAME_rater1, NAME_rater2 ..."
            )
        found[name] = tuple(numbered[number] for number in sorted(numbered))
    return found
