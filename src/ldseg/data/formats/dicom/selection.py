"""Select the images to segment among the DICOM files of an input.

A study holds localizers, screenshots, reports, structure sets and doses beside its volumes. They are skipped
if there is something better to segment, and reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ldseg.data.formats.dicom.frames import Frame, Header
from ldseg.data.formats.dicom.stack import same_direction, stack_of
from ldseg.data.volume import Axes
from ldseg.errors import FileError, listed

Key = TypeVar("Key")
Groups = dict[tuple[object, ...], list[Header]]
_PERHAPS, _UNPLACED, _LOCALIZER = 1, 2, 3
"""Weights of a doubt, from weak to strong."""
_SAME_PLACE_DIGITS = 2  # of mm
_FEWEST, _MOST = 3, 2 / 3
"""A series in several planes is a volume and its localizer where so many slices, and more than this share of
all, lie in one plane; else it is a localizer."""


@dataclass(frozen=True)
class SkippedFiles:
    """Skipped files, which hold nothing to segment."""

    path: Path
    """Their folder, or the file if there is one only."""
    files: int
    why: str
    """Their type, e.g. "RT Structure Set"."""


@dataclass(frozen=True)
class Doubt:
    """A reason why an image may not be the one to segment."""

    why: str
    weight: int
    """Strength from 1; among several images those with the weakest doubt are selected."""
    remedy: str = "name the series that is meant"
    """What to do where the image is refused."""

    @property
    def refused(self) -> bool:
        """Return whether the image is refused even if requested."""
        return self.weight == _LOCALIZER


_NONE = Doubt("", 0)


def group_by_image(headers: Iterable[Header], axes: Axes | None) -> Groups:
    """Return the headers grouped by image, without segmentations."""
    groups: Groups = {}
    for header in headers:
        if not header.is_segmentation:
            groups.setdefault(_key(header, axes), []).append(header)
    return groups


def _key(header: Header, axes: Axes | None) -> tuple[object, ...]:
    if header.multi or axes == "yx":
        return ("file", header.file)
    if axes == "tyx":
        plane = header.frames[0].plane
        numbers = (*(plane.position or ()), *(plane.orientation or ()))
        return ("cine", header.series, *(round(value, _SAME_PLACE_DIGITS) for value in numbers))
    return ("series", header.series)


def find_doubt(group: Sequence[Header], axes: Axes | None) -> Doubt | None:
    """Return the doubt about the image of `group`, or None."""
    group, _ = split_localizer(group)
    many = axes in ("zyx", "tyx")
    if all(header.is_localizer for header in group):
        return Doubt("localizer (ImageType LOCALIZER)", _LOCALIZER if many else _PERHAPS)
    planes = _planes(group)
    if axes == "zyx" and max(map(len, planes)) <= _MOST * len(group):
        remedy = "name the series that is meant, or move the slices of each plane into a folder of their own"
        return Doubt("localizer (slices in several planes)", _LOCALIZER, remedy)
    frames = [frame for header in group for frame in header.frames]
    placed = any(frame.plane.position and frame.plane.orientation for frame in frames)
    if axes == "zyx" and not placed:
        return Doubt("no place in space (a screenshot or secondary capture?)", _UNPLACED)
    if axes == "zyx" and any(header.is_colour for header in group):
        return Doubt("volume in colours", _PERHAPS)
    if any(header.is_screenshot for header in group) and not (many and len(frames) > 1):
        return Doubt("secondary capture", _PERHAPS)
    return (
        Doubt(f"single {'slice' if axes == 'zyx' else 'frame'}", _PERHAPS)
        if many and len(frames) == 1
        else None
    )


def select_images(
    groups: Mapping[Key, Sequence[Header]], axes: Axes | None
) -> tuple[list[Key], dict[Key, str]]:
    """Return the keys of the images to segment, and of all others with the reason.

    Doubtful images are selected only if there are no better ones.
    """
    doubts = {key: find_doubt(group, axes) or _NONE for key, group in groups.items()}
    least = min((found.weight for found in doubts.values()), default=0)
    kept = [key for key, found in doubts.items() if found.weight == least]
    return kept, {key: found.why for key, found in doubts.items() if found.weight > least}


def split_localizer(group: Sequence[Header]) -> tuple[list[Header], list[Header]]:
    """Return the slices of a series' volume, and those of a localizer in the same series.

    Slices in another plane belong to a localizer if they are few and the others form a complete volume.
    """
    known = [header for header in group if not header.is_localizer] or list(group)
    largest = max(_planes(known), key=len)
    if len(known) > len(largest) > _MOST * len(known) and len(largest) >= _FEWEST and _is_whole(largest):
        known = largest
    kept = {header.file for header in known}
    return known, [header for header in group if header.file not in kept]


def _planes(group: Sequence[Header]) -> list[list[Header]]:
    """Return the files grouped by the direction of their first frame."""
    planes: list[list[Header]] = []
    for header in group:
        for plane in planes:
            if same_direction(plane[0].frames[0].plane, header.frames[0].plane):
                plane.append(header)
                break
        else:
            planes.append([header])
    return planes


def _is_whole(group: Sequence[Header]) -> bool:
    frames: list[Frame] = [frame for header in group for frame in header.frames]
    try:
        stack_of(frames, "zyx", group[0].file)
    except FileError:
        return False
    return True


def describe_skipped(skipped: Iterable[SkippedFiles]) -> list[str]:
    """Return a sentence per type of skipped files: number, type and location."""
    kinds: dict[str, list[SkippedFiles]] = {}
    for one in skipped:
        kinds.setdefault(one.why, []).append(one)
    lines: list[str] = []
    for why, found in kinds.items():
        count = sum(one.files for one in found)
        places = listed(list(dict.fromkeys(str(one.path) for one in found)), 3)
        lines.append(f"skipped: {count} {'file' if count == 1 else 'files'}, {why} ({places})")
    return lines
