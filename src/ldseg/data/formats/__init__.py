"""Read and write images and label maps in all supported file formats.

A format is one module here and one entry in `FORMATS`. Images are returned as float32 (M, *S), label maps as
integers (1, *S). For formats with geometry, a result written for a volume that was read in the
same format has bit-equal geometry.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from ldseg.data.align import ROUNDING, align_to_whole_grid
from ldseg.data.formats import dicom, itk, raster, tiff
from ldseg.data.formats.dtypes import as_image, as_labels
from ldseg.data.formats.format import Format
from ldseg.data.formats.nibabel_formats import ANALYZE, MGH, NIFTI
from ldseg.data.volume import Axes, Kind, Volume
from ldseg.errors import FileError, file_error, first_line, translate_errors
from ldseg.utils.serialization import staged_prefix

__all__ = [
    "FORMATS",
    "TIFF_ENDINGS",
    "all_endings",
    "check_labels_of",
    "ending",
    "files_of",
    "format_of",
    "is_colour",
    "is_ending",
    "is_volume",
    "output_ending",
    "read_channels",
    "read_volume",
    "refuse_dangling",
    "stem",
    "writable_endings",
    "write_volume",
    "write_with",
]

FORMATS: tuple[Format, ...] = (
    NIFTI,
    ANALYZE,
    MGH,
    itk.META_IMAGE,
    itk.NRRD,
    raster.RASTER,
    raster.JPEG,
    tiff.TIFF,
    dicom.DICOM,
)

TIFF_ENDINGS = tiff.TIFF.endings

# Longest first, so that .nii.gz is found before a .gz could be.
_BY_ENDING = {e: form for form in FORMATS for e in form.endings}
_ENDINGS = sorted(_BY_ENDING, key=len, reverse=True)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DICOM_ENDING = dicom.DICOM.endings[0]


def ending(path: Path | str) -> str:
    """Return the ending in lower case, e.g. ".nii.gz". Raises InputError for an unknown ending.

    DICOM files and folders of them need not have one; theirs is ".dcm".
    """
    name = Path(path).name.lower()
    for known in _ENDINGS:
        if name.endswith(known):
            return known
    if dicom.is_dicom(Path(path)):
        return _DICOM_ENDING
    raise file_error(
        path, "is of no known image format", f"convert it to one of {' '.join(writable_endings())}"
    )


def all_endings() -> tuple[str, ...]:
    """Return the endings of all formats."""
    return tuple(_BY_ENDING)


def writable_endings() -> tuple[str, ...]:
    """Return the endings of the formats that results can be written in."""
    unwritten = (raster.JPEG, ANALYZE)
    return tuple(
        known
        for known, form in _BY_ENDING.items()
        if form not in unwritten and known != itk.SEGMENTATION_ENDING
    )


def is_ending(text: str) -> bool:
    """Return whether `text` is the ending of a format that can be written."""
    return text in writable_endings()


def stem(path: Path | str) -> str:
    """Return the file's name without its ending. Raises InputError for an unknown ending."""
    name, own = Path(path).name, ending(path)
    return name[: -len(own)] if name.lower().endswith(own) else name


def is_volume(path: Path) -> bool:
    """Return whether `path` is a visible image file by its ending, a DICOM file, or a folder of DICOM files.

    A broken link with such an ending counts too, so that reading it reports what is missing.
    """
    if path.name.startswith("."):
        return False
    known = path.name.lower().endswith(tuple(_ENDINGS)) and not path.is_dir()
    return (known and (path.is_file() or path.is_symlink())) or dicom.is_dicom(path)


def format_of(path: Path | str) -> Format:
    """Return the format of a file by its ending. Raises InputError for an unknown ending."""
    return _BY_ENDING[ending(path)]


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the existing files that an image is made of: itself, and the data of a header; of a folder with
    a DICOM series all files in it."""
    if path.is_dir():
        return tuple(sorted(one for one in path.iterdir() if one.is_file()))
    find, data = format_of(path).data_file, path
    if find is not None:
        with suppress(OSError, ValueError):  # reading it reports the error
            data = find(path)
    return (path,) if data == path or not data.is_file() else (path, data)


def is_colour(path: Path) -> bool:
    """Return whether a 2D image's header declares colours; False for volumes and damaged files."""
    form = format_of(path)
    return form.is_colour is not None and form.is_colour(path)


def holds_pictures_only(name: Path | str) -> bool:
    """Return whether files of the ending of `name` hold one 2D image, of 1 or 3 channels."""
    return _BY_ENDING[ending(name)] in (raster.RASTER, raster.JPEG)


def output_ending(source: Path | str, channels: int = 1, axes: Axes | None = None) -> str:
    """Return the file ending for results of an image `source`: its own if the format can hold them.

    JPEG is lossy, so its label maps are PNG. With `channels` > 1 (float probabilities, one channel per class)
    2D raster formats are replaced by TIFF with one page per channel. DICOM holds label maps as segmentations,
    but neither 2D+time ("tyx") nor floats: these become NIfTI.
    """
    own = ending(source)
    if holds_pictures_only(source) and channels > 1:
        return ".tif"
    if _BY_ENDING[own] is dicom.DICOM:
        return ".nii.gz" if channels > 1 or axes == "tyx" else _DICOM_ENDING
    if own == itk.SEGMENTATION_ENDING:
        return ".nrrd"
    if _BY_ENDING[own] is ANALYZE:
        return ".nii.gz"
    return ".png" if _BY_ENDING[own] is raster.JPEG else own


def read_volume(path: Path, kind: Kind, axes: Axes | None = None) -> Volume:
    """Return an image or a label map read from a file.

    `axes` None detects them from the file: one slice is "yx", several are "zyx" (a TIFF may declare "tyx").
    Raises InputError when the file is missing, damaged, of another shape than `axes`, or holds invalid
    numbers.
    """
    path = Path(path)
    form = format_of(path)
    refuse_dangling(path)
    if not path.is_file() and not (path.is_dir() and form is dicom.DICOM):
        raise file_error(path, "there is no such file", "check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise file_error(path, "the file is empty", "copy or export it again")
    raw = form.read(path, kind, axes)
    with translate_errors(path, form.name):  # reports a lack of memory
        array, notes = (as_image(raw.array, path), ()) if kind == "image" else as_labels(raw.array, path)
    stored = str(raw.array.dtype.newbyteorder("="))
    return replace(raw, array=array, kind=kind, stored=stored, notes=(*raw.notes, *notes))


def refuse_dangling(path: Path) -> None:
    """Raise InputError for a link whose target does not exist."""
    if path.is_symlink() and not path.exists():
        finding = f"is a link to {os.readlink(path)}, which is not there"
        remedy = "fetch the file (git annex get, dvc pull), or remove the link"
        raise file_error(path, finding, remedy)


def read_channels(
    paths: Sequence[Path], axes: Axes | None = None, geometry_tolerance: float = ROUNDING
) -> Volume:
    """Return an image read from one file with all channels, or from several files of one channel each.

    The channels are reoriented to the grid of the first. Raises InputError when the files of one
    image have different grids, by more than `geometry_tolerance` voxels of rounding.
    """
    volumes = [read_volume(path, "image", axes) for path in paths]
    first = volumes[0]
    if len(volumes) == 1:
        return first
    for path, volume in zip(paths, volumes, strict=True):
        if len(volume.array) != 1:
            finding = f"has {len(volume.array)} channels but is one of {len(paths)} channel files"
            raise file_error(path, finding, "give one channel a file, or all channels in one file")
    volumes[1:] = [
        align_to_whole_grid(
            volume, first, Path(path), Path(paths[0]), "its first channel", geometry_tolerance
        )
        for path, volume in zip(paths[1:], volumes[1:], strict=True)
    ]
    merged = first.with_array(np.concatenate([volume.array for volume in volumes]), "image")
    notes = [f"channel {n} {note}" for n, volume in enumerate(volumes) for note in volume.notes]
    return replace(merged, notes=tuple(notes))


def check_labels_of(image: Volume, source: Path, ending: str) -> None:
    """Raise InputError naming `source` if no label map of `image` can be written with this `ending`.

    Call it before the labels are computed.
    """
    form = _BY_ENDING[ending]
    if form.check is not None:
        form.check(source, image)


def write_volume(path: Path, volume: Volume) -> None:
    """Write a volume atomically, in the format of `path`'s ending.

    Integers keep their type if the format has it, floats become float32. Raises InputError when the format
    cannot hold the volume or the file cannot be written.
    """
    form = format_of(path)
    write_with(path, lambda staged: form.write(staged, volume.as_stated()))


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` to create a file (or a header and its data) with the name of `path`, atomically.

    Raises InputError when the format cannot hold the content or the file cannot be written.
    """
    path = Path(path)
    try:
        with _staged(path) as staged:
            write(staged)
    except FileError as problem:
        raise file_error(path, problem.finding, problem.remedy) from problem
    except OSError as problem:
        if problem.errno in _NO_SPACE:
            remedy = "free some space or choose another folder"
            raise file_error(path, "not written: no space left on the disk", remedy) from problem
        finding = f"cannot be written ({problem.strerror or first_line(problem)})"
        raise file_error(path, finding, "check the folder, its rights and its free space") from problem


@contextmanager
def _staged(path: Path) -> Generator[Path, None, None]:
    """Yield a path of this name in a temporary folder; its files replace the final ones on exit."""
    folder = Path(tempfile.mkdtemp(prefix=staged_prefix(path), dir=path.parent))
    try:
        yield folder / path.name
        # A header that names its data file (MHD) must not appear before the data.
        for written in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            os.replace(written, path.parent / written.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
