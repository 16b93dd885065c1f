"""Read DICOM series, multi-frame and enhanced objects, cines and 2D images; read and write segmentations.

A path is a file, or a folder that holds the files of one image (see `series`). pydicom and highdicom come
with the extra `dicom` and are imported when a DICOM file is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ldseg.data.formats.dicom.files import ENDINGS, dicom_files, is_dicom_file
from ldseg.data.formats.dicom.frames import Header, read_header
from ldseg.data.formats.dicom.pixels import read_pixels
from ldseg.data.formats.dicom.segmentation import (
    DicomImage,
    check_segmentation,
    read_segmentation,
    write_segmentation,
)
from ldseg.data.formats.dicom.segments import Segment, SegmentCodes, segments_of
from ldseg.data.formats.dicom.selection import SkippedFiles, describe_skipped
from ldseg.data.formats.dicom.series import frames_at, images_below, images_of
from ldseg.data.formats.dicom.stack import Stack, stack_of
from ldseg.data.formats.format import Format
from ldseg.data.geometry import select_axes
from ldseg.data.volume import Axes, Kind, Volume
from ldseg.errors import InputError, file_error

__all__ = [
    "DICOM",
    "DicomImage",
    "SkippedFiles",
    "describe_skipped",
    "images_below",
    "images_of",
    "is_dicom",
    "with_segment_codes",
    "with_segments",
]

_OTHER_PLANE = {"ImagerPixelSpacing": "at the detector", "NominalScannedPixelSpacing": "on the scanned film"}
"""Attributes that give the pixel size in another plane than that of the patient."""
_INDICES = {"yx": (0, 1), "zyx": (0, 1, 2), "tyx": (0, 1, 3)}


def is_dicom(path: Path) -> bool:
    """Return whether `path` is a DICOM file, or a folder with DICOM files directly in it."""
    return bool(dicom_files(path)) if path.is_dir() else is_dicom_file(path)


def with_segment_codes(
    volume: Volume, classes: Mapping[str, int], codes: Mapping[str, SegmentCodes]
) -> Volume:
    """The volume with names and codes for the segmentations of it, where it comes from DICOM.

    `classes` is name to id, background included; classes without `codes` take those of `known_codes`.
    """
    if not isinstance(volume.native, DicomImage):
        return volume
    return with_segments(volume, segments_of(classes, codes))


def with_segments(volume: Volume, segments: Sequence[Segment]) -> Volume:
    """Return the label map with names and codes for its segmentation, unchanged if it is not from DICOM."""
    if not isinstance(volume.native, DicomImage):
        return volume
    return replace(volume, native=replace(volume.native, segments=tuple(segments)))


def read(path: Path, kind: Kind, axes: Axes | None) -> Volume:
    """See `Format.read`."""
    header, frames, notes = frames_at(path, axes)
    if header.is_segmentation:
        if kind == "image":
            raise file_error(path, "is a segmentation and not an image", "name the image")
        array, stack, segments = read_segmentation(header, axes)
    else:
        segments = ()
        stack = stack_of(frames, axes, path)
        array = read_pixels(stack.frames)
    part = select_axes(stack.grid, _INDICES[stack.axes])
    array = array[:, 0] if stack.axes == "yx" else array
    return Volume(
        array=np.ascontiguousarray(array),
        spacing=tuple(reversed(part.spacing)),
        origin=part.origin,
        direction=part.direction,
        axes=stack.axes,
        kind=kind,
        native=DicomImage(stack.frames, segments),
        physical=part.physical,
        notes=(*notes, *header.notes, *_size_notes(stack)),
    )


def _size_notes(stack: Stack) -> tuple[str, ...]:
    """Return notes about a voxel size that is unknown, assumed, or not measured in the patient."""
    source = stack.frames[0].plane.source
    if source == "":
        return ("nothing in the header says how large a pixel is (no PixelSpacing)",)
    if source in _OTHER_PLANE:
        where = f"{_OTHER_PLANE[source]} ({source})"
        return (f"the size of a pixel is that {where}, as there is no PixelSpacing",)
    if stack.axes == "zyx" and len(stack.frames) == 1 and stack.frames[0].plane.thickness is None:
        return ("its one slice is taken as 1 mm thick, as there is no SliceThickness",)
    return ()


def is_colour(path: Path) -> bool:
    """See `Format.is_colour`."""
    try:
        first = dicom_files(path)[0] if path.is_dir() else path
        header = read_header(first)
    except (InputError, IndexError):
        return False  # reading it reports the error
    return isinstance(header, Header) and header.is_colour


DICOM = Format(
    "DICOM",
    ENDINGS,
    read,
    write_segmentation,
    has_geometry=True,
    is_colour=is_colour,
    check=check_segmentation,
)
