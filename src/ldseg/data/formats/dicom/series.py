"""Files of a folder to images: which files are DICOM, and which of them make one image.

An image is a file where a file holds many frames, or where the images wanted are pictures (yx); else it is a
series (zyx), or the frames of a series at one place (tyx). A path names it: the folder that holds nothing
else, or the first of its files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ldseg.data.faults import FileError, file_error, listed
from ldseg.data.formats.dicom.frames import Frame, Header, read_header
from ldseg.data.formats.dicom.stack import height, normal
from ldseg.data.volumes import Axes

ENDINGS = (".dcm", ".dicom", ".ima")
_MAGIC_AT, _MAGIC = 128, b"DICM"
_SAME_PLACE_DIGITS = 2  # of mm


@dataclass(frozen=True)
class Scan:
    """The DICOM files directly in a folder."""

    headers: tuple[Header, ...]
    """Of images and segmentations, ascending by file name."""
    damaged: tuple[FileError, ...]


def is_dicom_file(path: Path) -> bool:
    """Whether a file is DICOM by its ending, or by its first bytes where it has none (IM0001, 1.2.840.7)."""
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    suffix = path.suffix.lower()
    if suffix in ENDINGS:
        return True
    return (suffix == "" or suffix[1:].isdigit()) and _has_magic(path)


def _has_magic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(_MAGIC_AT)
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def dicom_files(folder: Path) -> list[Path]:
    """Visible DICOM files directly in `folder`, ascending by name."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError:
        return []
    return [path for path in entries if is_dicom_file(path)]


def scan(folder: Path) -> Scan:
    """Read all headers of a folder; the last folder's are kept, as its series follow each other."""
    files = dicom_files(folder)
    return _scan(tuple(files), tuple(path.stat().st_mtime_ns for path in files))


@lru_cache(maxsize=1)
def _scan(files: tuple[Path, ...], changed: tuple[int, ...]) -> Scan:
    del changed  # part of the key
    headers: list[Header] = []
    damaged: list[FileError] = []
    for path in files:
        try:
            header = read_header(path)
        except FileError as problem:
            damaged.append(problem)
            continue
        if header is not None:
            headers.append(header)
    return Scan(tuple(headers), tuple(damaged))


def frames_at(path: Path, axes: Axes | None) -> tuple[Header, list[Frame]]:
    """The frames of the image that `path` names, in no order, and a header for what they have in common.

    Raises InputError when there is none, when a folder holds several, or when files of one image differ.
    """
    if path.is_dir():
        found = scan(path)
        groups = list(grouped(found.headers, axes).values())
        if found.damaged:
            raise found.damaged[0]
        if len(groups) != 1:
            if not groups:
                raise file_error(path, "holds no DICOM image", "check the path")
            firsts = listed([group[0].file.name for group in groups], 3)
            finding = f"holds {len(groups)} DICOM images"
            raise file_error(path, finding, f"name a file of the one that is meant ({firsts})")
        return _joined(groups[0])
    header = read_header(path)
    if header is None:
        raise file_error(path, "is a DICOM object without an image", "name a file with an image")
    if header.multi or header.is_segmentation or axes in (None, "yx"):
        return header, list(header.frames)
    found = scan(path.parent)
    if found.damaged:
        raise found.damaged[0]  # it may be a slice of this series
    return _joined(next(group for group in grouped(found.headers, axes).values() if header in group))


def grouped(headers: Iterable[Header], axes: Axes | None) -> dict[tuple[object, ...], list[Header]]:
    """Headers by the image that they make together; segmentations are none."""
    groups: dict[tuple[object, ...], list[Header]] = {}
    for header in headers:
        if not header.is_segmentation:
            groups.setdefault(_key(header, axes), []).append(header)
    return groups


def _key(header: Header, axes: Axes | None) -> tuple[object, ...]:
    if header.multi or axes == "yx":
        return ("file", header.file)
    if axes == "tyx":
        place = header.frames[0].place
        numbers = (*(place.position or ()), *(place.orientation or ()))
        return ("film", header.series, *(round(value, _SAME_PLACE_DIGITS) for value in numbers))
    return ("series", header.series)


def _joined(group: Sequence[Header]) -> tuple[Header, list[Frame]]:
    """All frames of the files, which must hold the same kind of pixels."""
    first = group[0]
    for header in group[1:]:
        if header.pixels != first.pixels:
            finding = (
                f"holds {_described(header)} where {first.file.name} of the series has {_described(first)}"
            )
            raise file_error(header.file, finding, "remove it, or split the series")
    return first, [frame for header in group for frame in header.frames]


def _described(header: Header) -> str:
    """Its pixels in words."""
    rows, columns, samples, photometric, bits, signed = header.pixels
    return f"{rows} x {columns} x {samples} {photometric} {'signed ' if signed else ''}{bits}-bit pixels"


def images_below(root: Path, axes: Axes | None) -> dict[str, Path]:
    """Name to path of every DICOM image in `root` and its sub-folders."""
    found: dict[str, Path] = {}
    for folder, inner, _ in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name, path in images_in(Path(folder), axes, root).items():
            found[name if name not in found else f"{name}_{len(found)}"] = path
    return found


def images_in(folder: Path, axes: Axes | None, root: Path | None = None) -> dict[str, Path]:
    """Name to path of the images whose files are directly in `folder`.

    A name is made of the folders below `root` and, where the folder holds several images, of the series and
    slice or of the file. A damaged file is an image of its own where no other is readable; reading it, or
    another of its folder, says what is wrong.
    """
    found = scan(folder)
    groups = grouped(found.headers, axes)
    parts = folder.relative_to(root).parts if root is not None else ()
    damaged = {_name((*parts, _stem(Path(problem.file)))): Path(problem.file) for problem in found.damaged}
    if not groups:
        return damaged
    if len(groups) == 1 and next(iter(groups))[0] != "file":
        return {_name(parts or (folder.resolve().name,)): folder}
    named: dict[str, Path] = {}
    for (key, group), own in zip(groups.items(), _own_names(groups), strict=True):
        before = parts if key[0] == "file" else parts or (folder.resolve().name,)
        named[_name((*before, own))] = group[0].file
    return damaged | named if any(key[0] == "file" for key in groups) else named


def _own_names(groups: dict[tuple[object, ...], list[Header]]) -> list[str]:
    """What tells each image from the others of its folder."""
    series = {key: group[0].series for key, group in groups.items() if key[0] != "file"}
    numbers = {group[0].series: group[0].series_number for group in groups.values()}
    clear = None not in numbers.values() and len(set(numbers.values())) == len(numbers)
    names: list[str] = []
    for key, group in groups.items():
        if key not in series:
            names.append(_stem(group[0].file))
            continue
        own = f"series{numbers[series[key]]}" if clear else series[key]
        slices = [other for other, uid in series.items() if uid == series[key]]
        slices.sort(key=lambda other: _height(groups[other]))
        names.append(own if len(slices) == 1 else f"{own}_slice{slices.index(key) + 1}")
    return names


def _height(group: list[Header]) -> float:
    """Along the slices' normal; 0 where there is no place."""
    frame = group[0].frames[0]
    known = frame.place.position is not None and frame.place.orientation is not None
    return height(frame, normal(frame)) if known else 0.0


def _stem(path: Path) -> str:
    return path.stem if path.suffix.lower() in ENDINGS else path.name


def _name(parts: Sequence[str]) -> str:
    return "_".join(parts)


def images_of(files: Sequence[Path], axes: Axes | None) -> dict[str, Path]:
    """Name to path of the images that these files belong to, as if their folders had been given."""
    found: dict[str, Path] = {}
    for folder in dict.fromkeys(path.parent for path in files):
        given = {path for path in files if path.parent == folder}
        wanted = [group for group in grouped(scan(folder).headers, axes).values() if given & _files(group)]
        known = {group[0].file for group in wanted}
        for name, path in images_in(folder, axes).items():
            if path in known or (path == folder and wanted):
                found[name] = path
        lost = given - {path for group in wanted for path in _files(group)}
        found |= {_stem(path): path for path in lost}  # reading them says what is wrong
    return found


def _files(group: Sequence[Header]) -> set[Path]:
    return {header.file for header in group}
