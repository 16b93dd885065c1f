"""Read DICOM segmentations (SEG), and write label maps as such with highdicom, for the image they belong to.

Every slice is written, even empty ones: without them a segmentation loses its grid. The class's id
in label maps is stored in the segment's description, because segments are numbered from 1 without gaps.
"""

from __future__ import annotations

import errno
import hashlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg import __version__
from ldseg.data.formats.dicom.frames import Frame, Header
from ldseg.data.formats.dicom.lazy_import import lazy_import, read_dataset, translate_dicom_errors
from ldseg.data.formats.dicom.segments import Code, Segment
from ldseg.data.formats.dicom.sources import OTHER_FORMAT, VoxelSteps, source_images
from ldseg.data.formats.dicom.stack import (
    STEP_DIGITS,
    Stack,
    distinct_positions,
    slice_normal,
    slice_position,
    stack_grid,
)
from ldseg.data.volume import Axes, Volume
from ldseg.errors import file_error, first_line, translate_errors

_TINY = 8  # columns
_SERIES_NUMBER = 300  # scanners count their own series from 1
_ID = re.compile(r"^label id (\d+)$")
_LONGEST_NAME = 64
"""Characters of a SegmentLabel (value representation LO)."""
_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"


@dataclass(frozen=True)
class DicomImage:
    """The DICOM origin of a volume, to which segmentations of it refer."""

    frames: tuple[Frame, ...]
    """Frames in the order of the volume's slices or frames."""
    segments: tuple[Segment, ...] = ()
    """Names and codes of the classes, for label maps; the names of a segmentation that was read, none if one
    may be cut."""


def write_segmentation(path: Path, volume: Volume) -> None:
    """Write the label map of a volume or 2D image that was read from DICOM; highdicom does not support cines.

    Raises FileError if it belongs to no DICOM image or cannot be represented, OSError if writing fails.
    """
    image = volume.native
    if not isinstance(image, DicomImage) or volume.kind != "labels":
        raise file_error(path, "DICOM holds segmentations of DICOM images only", OTHER_FORMAT)
    labels = volume.array.reshape(-1, *volume.shape[-2:])  # (N, Y, X)
    segments = image.segments or tuple(
        Segment(number, f"class_{number}") for number in sorted({*np.unique(labels).tolist(), 1} - {0})
    )
    numbers = _segment_numbers(labels, segments, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings about the image's own header
        written = _dataset(path, image, numbers, segments, _steps(image.frames, volume))
        written.save_as(path)
        if not np.array_equal(written.pixel_array, read_dataset(path, pixels=True).pixel_array):
            raise OSError(errno.EIO, "it was not written whole")


def check_segmentation(path: Path, volume: Volume) -> None:
    """Raise FileError for `path` if no segmentation of the image `volume` can be written.

    It creates one with tiny frames: whether highdicom accepts it depends on the headers only.
    """
    image = volume.native
    if not isinstance(image, DicomImage):
        raise file_error(path, "DICOM holds segmentations of DICOM images only", OTHER_FORMAT)
    numbers = np.zeros((len(image.frames), 1, _TINY), np.uint8)
    segments = image.segments or (Segment(1, "class_1"),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = _dataset(path, image, numbers, segments, _steps(image.frames, volume))
        with translate_errors(path, "DICOM SEG"):
            written.save_as(BytesIO())


def _steps(frames: Sequence[Frame], volume: Volume) -> VoxelSteps:
    """Return the voxel steps: those in the files, else those of the volume."""
    first = frames[0].plane
    rows, columns = first.spacing or volume.spacing[-2:]
    pixels = (rows, columns) if first.spacing is not None or volume.physical else None
    heights = distinct_positions(frames)
    if len(heights) > 1:
        return VoxelSteps(round((heights[-1] - heights[0]) / (len(heights) - 1), STEP_DIGITS), pixels)
    return VoxelSteps(first.thickness, pixels)


def _segment_numbers(labels: NDArray[Any], segments: Sequence[Segment], path: Path) -> NDArray[np.uint8]:
    """Return label ids (N, Y, X) as segment numbers, background 0. Raises InputError for an unknown id."""
    known = {0: 0} | {segment.id: number for number, segment in enumerate(segments, start=1)}
    strange = [number for number in np.unique(labels).tolist() if number not in known]
    if strange or len(segments) > 255:
        finding = f"has id {strange[0]}, which is no class" if strange else f"has {len(segments)} classes"
        raise file_error(path, finding, OTHER_FORMAT)
    table = np.zeros(max(known) + 1, dtype=np.uint8)
    table[list(known)] = list(known.values())
    return table[labels]


def _dataset(
    path: Path, image: DicomImage, numbers: NDArray[np.uint8], segments: Sequence[Segment], steps: VoxelSteps
) -> Any:
    """Return highdicom's segmentation of the segment `numbers` (N, Y, X)."""
    hd = lazy_import("highdicom")
    sources = source_images(image.frames, steps, (numbers.shape[-2], numbers.shape[-1]))
    if len(sources) < len(image.frames):  # one file of many frames, which refers to them in its own order
        order = [frame.index for frame in image.frames]
        numbers = numbers[np.argsort(order)]
    with translate_errors(path, "DICOM SEG"):
        try:
            uids = _reproducible_uids(sources, numbers, segments)
            made = hd.seg.Segmentation(
                source_images=sources,
                pixel_array=numbers,
                segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[
                    _description(segment, number) for number, segment in enumerate(segments, start=1)
                ],
                series_instance_uid=uids[0],
                sop_instance_uid=uids[1],
                series_number=_SERIES_NUMBER,
                instance_number=1,
                manufacturer="ldseg",
                manufacturer_model_name="ldseg",
                software_versions=__version__,
                device_serial_number="1",
                series_description="ldseg segmentation",
                content_label="SEGMENTATION",
                omit_empty_frames=False,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            finding = f"cannot be written as DICOM SEG ({first_line(problem)})"
            raise file_error(path, finding, OTHER_FORMAT) from problem
    if steps.pixels is None:  # highdicom copies an empty item for some kinds of objects
        made.SharedFunctionalGroupsSequence[0].pop("PixelMeasuresSequence", None)
    return made


def _description(segment: Segment, number: int) -> Any:
    """Return highdicom's description of a segment: name, codes and algorithm."""
    hd, codes = lazy_import("highdicom"), lazy_import("pydicom.sr.codedict").codes
    made_by = hd.AlgorithmIdentificationSequence(
        name="ldseg", family=codes.DCM.ArtificialIntelligence, version=__version__
    )
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name[:_LONGEST_NAME],
        segmented_property_category=_coded(segment.codes.category),
        segmented_property_type=_coded(segment.codes.type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=made_by,
    )
    description.SegmentDescription = f"label id {segment.id}"
    return description


def _coded(code: Code) -> Any:
    return lazy_import("highdicom").sr.CodedConcept(code.value, code.scheme, code.meaning)


def _reproducible_uids(
    sources: Sequence[Any], numbers: NDArray[np.uint8], segments: Sequence[Segment]
) -> tuple[str, str]:
    """Return UIDs of series and object that depend only on image and content."""
    image = [str(source.SOPInstanceUID) for source in sources]
    content = [hashlib.sha256(numbers.tobytes()).hexdigest(), repr(segments), __version__]
    make = lazy_import("pydicom.uid").generate_uid
    return (make(entropy_srcs=["series", *image, *content]), make(entropy_srcs=["object", *image, *content]))


def read_segmentation(header: Header, axes: Axes | None) -> tuple[NDArray[Any], Stack, tuple[Segment, ...]]:
    """Return label ids (1, N, Y, X), their stack, from the first to the last slice with a frame, and the ids
    and names of the segments.

    Raises InputError for fractional segmentations, overlapping segments, and frames off a regular grid.
    """
    path = header.file
    dataset = read_dataset(path, pixels=True)
    if dataset.get("SegmentationType") == "FRACTIONAL":
        raise file_error(path, "is a fractional segmentation", "threshold it to a binary one")
    with translate_dicom_errors(path):
        stored = np.asarray(dataset.pixel_array)
        stored = stored.reshape(-1, *stored.shape[-2:])  # (frames, Y, X)
        segments = _named_segments(dataset)
    ids = {number: segment.id for number, segment in segments.items()}
    places, stack = _places(header.frames, axes, path)
    kind = np.uint8 if max(ids.values(), default=0) < 256 else np.int32
    array = np.zeros((1, len(stack.frames), *stored.shape[1:]), kind)
    for frame, place in zip(header.frames, places, strict=True):
        own = _frame_ids(stored[frame.index], frame, ids, header)
        slab = array[0, place]
        if bool(((slab != 0) & (own != 0)).any()):
            raise file_error(path, "has segments that overlap", "save them as segmentations of their own")
        slab += own.astype(kind)
    named = tuple(segments.values())
    return array, stack, named if all(0 < len(one.name) < _LONGEST_NAME for one in named) else ()


def _named_segments(dataset: Any) -> dict[int, Segment]:
    """Return segment number to label id (that in a description by ldseg, else the number) and name."""
    found: dict[int, Segment] = {}
    for segment in dataset.SegmentSequence:
        number, match = int(segment.SegmentNumber), _ID.match(str(segment.get("SegmentDescription", "")))
        name = str(segment.get("SegmentLabel") or "").strip()
        found[number] = Segment(int(match[1]) if match else number, name)
    return found


def _frame_ids(stored: NDArray[Any], frame: Frame, ids: dict[int, int], header: Header) -> NDArray[Any]:
    """Return the label ids (Y, X) of one frame."""
    if header.sop_class != _LABEL_MAP:
        return (stored > 0) * ids.get(frame.segment or 0, frame.segment or 0)
    table = np.zeros(int(stored.max()) + 1, dtype=np.int64)
    for number in range(1, len(table)):
        table[number] = ids.get(number, number)
    return table[stored]


def _places(frames: Sequence[Frame], axes: Axes | None, path: Path) -> tuple[list[int], Stack]:
    """Return the slice index of each frame, and their stack."""
    if axes == "zyx" or (axes is None and len(distinct_positions(frames)) > 1):
        return _slices(frames, path)
    segments = [frame.segment for frame in frames]
    if axes == "tyx" or len(set(segments)) < len(segments):
        finding = f"has {len(frames)} frames, which are neither slices of a volume nor one image"
        raise file_error(path, finding, "save the labels in another format, e.g. .nii.gz")
    return [0] * len(frames), Stack((frames[0],), stack_grid(frames[0], 1.0, 1.0), "yx")


def _slices(frames: Sequence[Frame], path: Path) -> tuple[list[int], Stack]:
    """Return slice indices by position along the normal, and a stack that includes slices without frame."""
    across = slice_normal(frames[0])
    found = distinct_positions(frames)
    closest = float(np.diff(found).min()) if len(found) > 1 else None
    step = frames[0].plane.between or closest or frames[0].plane.thickness or 1.0
    exact = [(slice_position(frame, across) - found[0]) / step for frame in frames]
    places = [round(value) for value in exact]
    if max(abs(value - place) for value, place in zip(exact, places, strict=True)) > 0.1:
        raise file_error(path, "has slices at uneven distances", "write it again on the image's grid")
    lowest = frames[places.index(0)]
    by_place = dict(zip(places, frames, strict=True))
    count = max(places) + 1
    stack = tuple(by_place.get(place, lowest) for place in range(count))
    return places, Stack(stack, stack_grid(lowest, float(step), 1.0), "zyx")
