"""Find the DICOM images in folders and group their files by image.

An image is a single file if it can hold many frames, or if 2D images (yx) are requested; else it is a
series (zyx), or the frames of a series at one position (tyx). Its path is the folder if that holds nothing
else, otherwise the first of its files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ldseg.data.formats.dicom.files import ENDINGS, dicom_files
from ldseg.data.formats.dicom.frames import Frame, Header, OtherObject, read_header
from ldseg.data.formats.dicom.selection import (
    Groups,
    SkippedFiles,
    describe_skipped,
    find_doubt,
    group_by_image,
    select_images,
    split_localizer,
)
from ldseg.data.formats.dicom.stack import slice_normal, slice_position
from ldseg.data.volume import Axes
from ldseg.errors import FileError, file_error, listed


@dataclass(frozen=True)
class FolderScan:
    """The DICOM files directly in a folder."""

    headers: tuple[Header, ...]
    """Headers of images and segmentations, ascending by file name."""
    others: tuple[OtherObject, ...]
    damaged: tuple[FileError, ...]


def scan_folder(folder: Path) -> FolderScan:
    """Return all headers of a folder; those of the last folder are cached for its other series."""
    files = dicom_files(folder)
    return _scan(tuple(files), tuple(path.stat().st_mtime_ns for path in files))


@lru_cache(maxsize=1)
def _scan(files: tuple[Path, ...], changed: tuple[int, ...]) -> FolderScan:
    del changed  # part of the key
    headers: list[Header] = []
    others: list[OtherObject] = []
    damaged: list[FileError] = []
    for path in files:
        try:
            header = read_header(path)
        except FileError as problem:
            damaged.append(problem)
            continue
        if isinstance(header, Header):
            headers.append(header)
        else:
            others.append(header)
    return FolderScan(tuple(headers), tuple(others), tuple(damaged))


@dataclass(frozen=True)
class DicomImages:
    """The DICOM images of an input, and the skipped files."""

    images: dict[str, Path]
    """Case name to path."""
    skipped: tuple[SkippedFiles, ...] = ()
    remarks: tuple[str, ...] = ()
    """Sentences on what may have been meant otherwise."""


def frames_at(path: Path, axes: Axes | None) -> tuple[Header, list[Frame], tuple[str, ...]]:
    """Return one header, the unordered frames and notes of the image at `path`.

    Raises InputError when there is none, when a folder holds several, or when files of one image differ.
    """
    if path.is_dir():
        group, skipped = _only_group(path, axes)
        header, frames, notes = _join_frames(group, path, axes)
        return header, frames, (*describe_skipped(skipped), *notes)
    header = read_header(path)
    if isinstance(header, OtherObject):
        raise file_error(
            path, f"is no image but DICOM of the kind {header.what}", "name a file with an image"
        )
    if header.is_segmentation or axes is None:
        return header, list(header.frames), ()
    if header.multi or axes == "yx":
        return _join_frames([header], path, axes)
    found = scan_folder(path.parent)
    if found.damaged:
        raise found.damaged[0]  # it may be a slice of this series
    group = next(group for group in group_by_image(found.headers, axes).values() if header in group)
    if header in split_localizer(group)[1]:
        raise file_error(path, "is a localizer within its series", "name a slice of the volume that is meant")
    return _join_frames(group, path, axes)


def _only_group(folder: Path, axes: Axes | None) -> tuple[list[Header], list[SkippedFiles]]:
    """Return the files of the single image in a folder, and the skipped files.

    Raises InputError where it holds none or several.
    """
    found = scan_folder(folder)
    if found.damaged:
        raise found.damaged[0]
    groups = group_by_image(found.headers, axes)
    kept, doubtful = select_images(groups, axes)
    if not kept:
        others = sorted({other.what for other in found.others})
        finding = f"holds no DICOM image, only {listed(others)}" if others else "holds no DICOM image"
        raise file_error(folder, finding, "check the path")
    if len(kept) > 1:
        firsts = listed([groups[key][0].file.name for key in kept], 3)
        finding = f"holds {len(kept)} DICOM images"
        raise file_error(folder, finding, f"name a file of the one that is meant ({firsts})")
    skipped = [SkippedFiles(groups[key][0].file, len(groups[key]), why) for key, why in doubtful.items()]
    return groups[kept[0]], [*skipped, *_other_objects(found)]


def _join_frames(
    group: Sequence[Header], path: Path, axes: Axes | None
) -> tuple[Header, list[Frame], tuple[str, ...]]:
    """Return header, frames and notes of an image. Raises InputError for localizers and mixed pixels."""
    found = find_doubt(group, axes)
    if found is not None and found.refused:
        raise file_error(path, f"is a {found.why}", found.remedy)
    group, left_out = split_localizer(group)
    first = group[0]
    for header in group[1:]:
        if header.pixels != first.pixels:
            usual = f"{first.file.name} of the series has {_pixel_format(first)}"
            finding = f"holds {_pixel_format(header)} where {usual}"
            raise file_error(header.file, finding, "remove it, or split the series")
    notes: list[str] = []
    if left_out:
        names = listed([header.file.name for header in left_out], 3)
        notes.append(f"slices of a localizer in the same series are left out ({names})")
    return first, [frame for header in group for frame in header.frames], tuple(notes)


def _pixel_format(header: Header) -> str:
    """Return the size and number format of the pixels in words."""
    rows, columns, samples, photometric, bits, signed = header.pixels
    return f"{rows} x {columns} x {samples} {photometric} {'signed ' if signed else ''}{bits}-bit pixels"


def images_below(root: Path, axes: Axes | None) -> DicomImages:
    """Return the DICOM images in `root` and its sub-folders, and the skipped files."""
    scans = {folder: scan_folder(folder) for folder in _folders(root)}
    groups = {
        (folder, key): group
        for folder, own in scans.items()
        for key, group in group_by_image(own.headers, axes).items()
    }
    kept, doubtful = select_images(groups, axes)
    found: dict[str, Path] = {}
    skipped: list[SkippedFiles] = []
    for folder, own in scans.items():
        images = {key: groups[place, key] for place, key in kept if place == folder}
        others = {key: why for (place, key), why in doubtful.items() if place == folder}
        alone = all(key[0] == "file" for place, key in groups if place == folder)
        bad = [Path(problem.file) for problem in own.damaged] if alone else []
        parts = folder.relative_to(root).parts
        # Damaged files count as images; reading them reports the error.
        named = [(_name((*parts, _stem(path))), path) for path in bad] + _named(folder, images, root)
        for name, path in named:
            found[name if name not in found else f"{name}_{len(found)}"] = path
        for key, why in others.items():
            group = groups[folder, key]
            skipped.append(SkippedFiles(group[0].file if images else folder, len(group), why))
        skipped += [*_other_objects(own), *_no_dicom(folder, own, folder == root)]
    return DicomImages(found, tuple(skipped), _in_several_folders(kept))


def _in_several_folders(images: Sequence[tuple[Path, tuple[object, ...]]]) -> tuple[str, ...]:
    """Return a sentence for each series whose files lie in several folders, each of which is an image."""
    folders: dict[tuple[object, ...], list[str]] = {}
    for folder, key in images:
        if key[0] != "file":
            folders.setdefault(key, []).append(str(folder))
    return tuple(
        f"{listed(places, 3)} hold files of one series and are images of their own; put them into one folder "
        "if they are parts of one volume"
        for places in folders.values()
        if len(places) > 1
    )


def _folders(root: Path) -> list[Path]:
    """Return `root` and the visible folders below it, each once, including linked ones."""
    found: list[Path] = []
    seen: set[str] = set()
    for folder, inner, _ in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)
        inner[:] = [] if place in seen else sorted(name for name in inner if not name.startswith("."))
        if place not in seen:
            found.append(Path(folder))
        seen.add(place)
    return found


def _other_objects(found: FolderScan) -> list[SkippedFiles]:
    """Return the DICOM files of a folder that hold no image."""
    segmentations = [header.file for header in found.headers if header.is_segmentation]
    return [SkippedFiles(other.file, 1, other.what) for other in found.others] + [
        SkippedFiles(file, 1, "Segmentation") for file in segmentations
    ]


def _no_dicom(folder: Path, found: FolderScan, is_root: bool) -> list[SkippedFiles]:
    """Return the files beside DICOM that are not; in the given folder only those named like slices."""
    damaged = {Path(problem.file) for problem in found.damaged}
    known = {one.file for one in (*found.headers, *found.others)} | damaged
    if not known:
        return []
    files = [path for path in folder.iterdir() if path.is_file() and path not in known]
    strange = [
        path
        for path in files
        if not path.name.startswith(".")
        and path.name.upper() != "DICOMDIR"
        and not (is_root and path.suffix[1:].isalpha())  # named as another type
    ]
    return [SkippedFiles(folder, len(strange), "no DICOM")] if strange else []


def _named(folder: Path, groups: Groups, root: Path | None = None) -> list[tuple[str, Path]]:
    """Return name and path of each image whose files are directly in `folder`.

    A name consists of the folders below `root` and, if the folder holds several images, the series and
    slice, or the file.
    """
    parts = folder.relative_to(root).parts if root is not None else ()
    if len(groups) == 1 and next(iter(groups))[0] != "file":
        return [(_name(parts or (folder.resolve().name,)), folder)]
    named: list[tuple[str, Path]] = []
    for (key, group), own in zip(groups.items(), _own_names(groups), strict=True):
        before = parts if key[0] == "file" else parts or (folder.resolve().name,)
        named.append((_name((*before, own)), group[0].file))
    return named


def _own_names(groups: Groups) -> list[str]:
    """Return a distinct name for each image of a folder."""
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
        slices.sort(key=lambda other: _group_position(groups[other]))
        names.append(own if len(slices) == 1 else f"{own}_slice{slices.index(key) + 1}")
    return names


def _group_position(group: list[Header]) -> float:
    """Return the position of the first frame along the slice normal, 0 if it has none."""
    frame = group[0].frames[0]
    known = frame.plane.position is not None and frame.plane.orientation is not None
    return slice_position(frame, slice_normal(frame)) if known else 0.0


def _stem(path: Path) -> str:
    return path.stem if path.suffix.lower() in ENDINGS else path.name


def _name(parts: Sequence[str]) -> str:
    return "_".join(parts)


def images_of(files: Sequence[Path], axes: Axes | None) -> DicomImages:
    """Return the images of these files, named as if their folders had been given."""
    folders = dict.fromkeys(path.parent for path in files)
    every = {folder: group_by_image(scan_folder(folder).headers, axes) for folder in folders}
    given = set(files)
    groups = {
        (folder, key): group
        for folder, own in every.items()
        for key, group in own.items()
        if given & _files(group)
    }
    kept, doubtful = select_images(groups, axes)
    found: dict[str, Path] = {}
    for folder, own in every.items():
        wanted = [key for place, key in kept if place == folder]
        beside = select_images(own, axes)[0]  # from which names must distinguish them
        named = {key: own[key] for key in own if key in wanted or key in beside}
        for key, (name, path) in zip(named, _named(folder, named), strict=True):
            if key in wanted:
                found[name if name not in found else f"{name}_{len(found)}"] = path
    skipped = [SkippedFiles(key[0], len(groups[key]), why) for key, why in doubtful.items()]
    lost = given - {path for group in groups.values() for path in _files(group)}
    for folder in folders:
        for other in _other_objects(scan_folder(folder)):
            if found and other.path in lost:
                skipped.append(other)
                lost.remove(other.path)
    found |= {_stem(path): path for path in sorted(lost)}  # reading them reports the error
    return DicomImages(found, tuple(skipped))


def _files(group: Sequence[Header]) -> set[Path]:
    return {header.file for header in group}
