"""From file names to case names: folders, channel suffixes (`_0000`), rater suffixes (`_rater1`).

One name has several spellings in Unicode: macOS writes "ä" as two characters (NFD), most others as one (NFC).
Names are compared in NFC (`name_key`); what is written keeps the spelling of the image's file.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ldseg.data.formats import is_volume, stem
from ldseg.errors import file_error

_CHANNEL = re.compile(r"^(.+)_(\d{4})$")
_RATER = re.compile(r"^(.+)_rater(\d+)$")

Files = dict[str, tuple[Path, ...]]
"""Case name to its files: the channels of an image, or one mask per rater."""


def name_key(name: str) -> str:
    """Return the name in Unicode normal form NFC, in which equal names compare equal."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def find_path(path: Path) -> Path:
    """Return the existing file or folder at `path`, or one whose name differs in its Unicode spelling only.

    Returns `path` itself if neither exists.
    """
    if path.exists() or path.is_symlink() or path.name in ("", "..") or str(path).isascii():
        return path
    parent = find_path(path.parent)
    wanted = name_key(path.name)
    try:
        inside = [one for one in parent.iterdir() if name_key(one.name) == wanted]
    except OSError:
        return path
    return inside[0] if len(inside) == 1 else path


def check_name(name: str, path: Path) -> None:
    """Raise InputError for a case name that is not valid UTF-8 and so cannot be written to files."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise file_error(path, "its name is not in UTF-8", "rename it") from problem


def volumes_in(folder: Path) -> list[Path]:
    """Return the image files directly in `folder`, ascending by name; hidden and other files are skipped.

    Raises InputError for a folder that cannot be opened.
    """
    try:
        return sorted((path for path in folder.iterdir() if is_volume(path)), key=lambda path: path.name)
    except OSError as problem:
        finding = f"cannot be opened ({problem.strerror})"
        raise file_error(folder, finding, "check its rights") from problem


def by_stem(paths: Iterable[Path]) -> Files:
    """Return case name to file. Raises InputError if two files have one case name (a.png and a.jpg)."""
    found: dict[str, Path] = {}
    for path in paths:
        key = name_key(stem(path))
        if key in found:
            remedy = "rename or remove one of the two"
            raise file_error(path, f"is a second file of case {stem(path)} beside {found[key]}", remedy)
        found[key] = path
    return {stem(path): (path,) for path in found.values()}


def complete_groups(groups: Mapping[str, Mapping[int, Path]], channels: int) -> Files:
    """Return each image's files in channel order. Raises InputError for a missing channel.

    An image of one file, `_0000`, may hold all channels itself; loading checks their number.
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
    """Return `suffix_groups` if every file has a suffix and every case a channel 0000, else None."""
    if not paths or not all(has_suffix(path) for path in paths):
        return None
    groups = suffix_groups(paths)
    return groups if all(0 in files for files in groups.values()) else None


def has_suffix(path: Path) -> bool:
    """Return whether the name ends like that of a channel file, `_0000`."""
    return _CHANNEL.match(stem(path)) is not None


def suffix_groups(paths: Sequence[Path]) -> dict[str, dict[int, Path]]:
    """Return case name to channel number to file. Raises InputError for a duplicate channel."""
    groups: dict[str, dict[int, Path]] = defaultdict(dict)
    spelling: dict[str, str] = {}
    for path in paths:
        name, _, digits = stem(path).rpartition("_")
        name = spelling.setdefault(name_key(name), name)
        number = int(digits)
        if number in groups[name]:
            finding = f"is a second file of channel {number} of case {name} beside {groups[name][number]}"
            raise file_error(path, finding, "rename or remove one of the two")
        groups[name][number] = path
    return dict(groups)


def rater_groups(paths: Sequence[Path], images: Iterable[str]) -> Files:
    """Return the masks of each case: NAME, or NAME_rater1, NAME_rater2 ... in the order of raters.

    The suffix is not split off a name that is itself the name of an image.
    """
    names = {name_key(name) for name in images}
    single = by_stem(paths)
    raters: dict[str, dict[int, Path]] = defaultdict(dict)
    found: Files = {}
    for name, files in single.items():
        match = _RATER.match(name_key(name))
        if match is None or name_key(name) in names:
            found[name] = files
        elif int(match[2]) in raters[match[1]]:
            finding = f"is a second mask of rater {int(match[2])} of case {match[1]}"
            raise file_error(files[0], finding, "rename or remove one of the two")
        else:
            raters[match[1]][int(match[2])] = files[0]
    plain = {name_key(name): name for name in found}
    for key, numbered in raters.items():
        name = plain.get(key, key)
        if name in found:
            finding = f"case {name} has both a mask of its own name and masks of raters"
            raise file_error(
                found[name][0], finding, "name all masks of the case NAME_rater1, NAME_rater2 ..."
            )
        found[name] = tuple(numbered[number] for number in sorted(numbered))
    return found
