"""What a header says of each frame: its place, its time, its scale; for one frame a file as for many.

Values are those of the DICOM attributes, None where the file does not say. Positions and directions are LPS,
in mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldseg.data.faults import file_error
from ldseg.data.formats.dicom.library import read_dataset, reading

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of segmentations: binary or fractional, and label maps."""
_CENTIMETRES = 3  # code of PhysicalUnitsXDirection in an ultrasound region
_TISSUE = 1  # RegionSpatialFormat: two-dimensional


@dataclass(frozen=True)
class Place:
    """Where a frame lies."""

    orientation: tuple[float, ...] | None
    """Unit vectors along a row and along a column (6 values)."""
    position: tuple[float, ...] | None
    """Centre of the first pixel (3 values)."""
    spacing: tuple[float, ...] | None
    """Between rows, between columns."""
    thickness: float | None
    """Between slices, or a slice's thickness; only asked where there is one slice."""
    between: float | None = None
    """Between slices, where the file says it (SpacingBetweenSlices)."""


@dataclass(frozen=True)
class Moment:
    """When a frame was made; its order among others in the first of these that tells all of them apart."""

    seconds: float | None
    """Trigger time or time within the film."""
    index: int | None
    """Number of the temporal position."""
    acquired: float | None
    """Time of day in seconds."""
    number: int
    """InstanceNumber, or the frame's number in its file."""


@dataclass(frozen=True)
class Frame:
    """One frame of one file."""

    file: Path
    index: int
    """In its file, from 0."""
    place: Place
    moment: Moment
    slope: float
    intercept: float
    segment: int | None = None
    """ReferencedSegmentNumber, in segmentations."""


@dataclass(frozen=True)
class Header:
    """One file: what it belongs to and its frames."""

    file: Path
    series: str
    """SeriesInstanceUID."""
    series_number: int | None
    sop_class: str
    pixels: tuple[object, ...]
    """Rows, columns, samples, photometric interpretation, bits, signedness: equal in one image."""
    has_table: bool
    """Whether a modality lookup table stands in the place of slope and intercept."""
    multi: bool
    """Whether the object is of a kind that holds many frames, even if it holds one."""
    frames: tuple[Frame, ...]

    @property
    def is_segmentation(self) -> bool:
        """Whether it holds segments instead of intensities."""
        return self.sop_class in SEGMENTATIONS


def read_header(path: Path) -> Header | None:
    """The header of a file; None for an object that is no image (reports, structure sets, DICOMDIR).

    Raises InputError when the file is damaged.
    """
    dataset = read_dataset(path)
    if "Rows" not in dataset or "Columns" not in dataset:
        return None
    with reading(path):
        return _header(dataset, path)


def _header(dataset: Any, path: Path) -> Header:
    if "ConcatenationUID" in dataset:
        raise file_error(path, "is one part of a concatenation of files", "export it as one file")
    count = int(dataset.get("NumberOfFrames") or 1)
    if not 0 < count <= max(path.stat().st_size, 1):
        raise ValueError(f"it declares {count} frames")
    enhanced = "PerFrameFunctionalGroupsSequence" in dataset
    frames = _enhanced_frames(dataset, path, count) if enhanced else _plain_frames(dataset, path, count)
    names = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation")
    bits = ("BitsStored", "PixelRepresentation")
    return Header(
        file=path,
        series=str(dataset.get("SeriesInstanceUID", "")),
        series_number=_whole(dataset.get("SeriesNumber")),
        sop_class=str(dataset.SOPClassUID),
        pixels=tuple(dataset.get(name) for name in (*names, *bits)),
        has_table="ModalityLUTSequence" in dataset,
        multi=enhanced or count > 1,
        frames=frames,
    )


def _plain_frames(dataset: Any, path: Path, count: int) -> tuple[Frame, ...]:
    """Frames of an object that has one place for all of them."""
    place = Place(
        _numbers(dataset, "ImageOrientationPatient", 6),
        _numbers(dataset, "ImagePositionPatient", 3),
        _pixel_spacing(dataset),
        *_between_slices(dataset),
    )
    slope, intercept = _scale(dataset)
    if count == 1:
        milliseconds = _number(dataset, "TriggerTime")
        moment = Moment(
            None if milliseconds is None else milliseconds / 1000,
            _whole(dataset.get("TemporalPositionIdentifier")),
            _time_of_day(dataset.get("AcquisitionTime") or dataset.get("ContentTime")),
            _whole(dataset.get("InstanceNumber")) or 0,
        )
        return (Frame(path, 0, place, moment, slope, intercept),)
    seconds = _film_times(dataset, count)
    return tuple(
        Frame(path, n, place, Moment(seconds[n], None, None, n), slope, intercept) for n in range(count)
    )


def _enhanced_frames(dataset: Any, path: Path, count: int) -> tuple[Frame, ...]:
    """Frames of an object with functional groups, each with its own place."""
    groups = dataset.PerFrameFunctionalGroupsSequence
    if len(groups) != count:
        raise ValueError(f"it declares {count} frames and describes {len(groups)}")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    return tuple(_enhanced_frame(group, shared, path, n) for n, group in enumerate(groups))


def _enhanced_frame(own: Any, shared: Any, path: Path, index: int) -> Frame:
    def group(name: str) -> Any:
        """The item of a functional group: the frame's own, the shared one, or an empty one."""
        return ((own.get(name) or shared.get(name)) or [{}])[0]

    measures = group("PixelMeasuresSequence")
    place = Place(
        _numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        _numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3),
        _numbers(measures, "PixelSpacing", 2),
        *_between_slices(measures),
    )
    content, cardiac = group("FrameContentSequence"), group("CardiacSynchronizationSequence")
    milliseconds = _number(cardiac, "NominalCardiacTriggerDelayTime")
    moment = Moment(
        None if milliseconds is None else milliseconds / 1000,
        _whole(content.get("TemporalPositionIndex")),
        _time_of_day(str(content.get("FrameAcquisitionDateTime") or "")[8:]),
        index,
    )
    slope, intercept = _scale(group("PixelValueTransformationSequence"))
    segment = _whole(group("SegmentIdentificationSequence").get("ReferencedSegmentNumber"))
    return Frame(path, index, place, moment, slope, intercept, segment)


def _pixel_spacing(dataset: Any) -> tuple[float, ...] | None:
    """Between rows and between columns, from whichever attribute has it."""
    own = _numbers(dataset, "PixelSpacing", 2)
    if own is not None:
        return own
    regions = [
        region
        for region in dataset.get("SequenceOfUltrasoundRegions") or []
        if region.get("RegionSpatialFormat") == _TISSUE
        and region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == _CENTIMETRES
    ]
    found = {
        (abs(float(region.PhysicalDeltaY)) * 10, abs(float(region.PhysicalDeltaX)) * 10) for region in regions
    }
    if len(found) == 1 and min(next(iter(found))) > 0:
        return found.pop()
    return _numbers(dataset, "ImagerPixelSpacing", 2) or _numbers(dataset, "NominalScannedPixelSpacing", 2)


def _between_slices(dataset: Any) -> tuple[float | None, float | None]:
    """`Place.thickness` and `Place.between`; nuclear medicine counts downwards with negative numbers."""
    between = abs(_number(dataset, "SpacingBetweenSlices") or 0.0) or None
    return between or _number(dataset, "SliceThickness") or None, between


def _film_times(dataset: Any, count: int) -> list[float | None]:
    """Seconds of each frame since the first, from frame time, its vector or the rate."""
    vector = _numbers(dataset, "FrameTimeVector", count)
    if vector is not None:
        return [sum(vector[1 : n + 1]) / 1000 for n in range(count)]
    step = _number(dataset, "FrameTime")
    rate = _number(dataset, "CineRate") or _number(dataset, "RecommendedDisplayFrameRate")
    if not step and rate:
        step = 1000 / rate
    return [n * step / 1000 if step else None for n in range(count)]


def _scale(dataset: Any) -> tuple[float, float]:
    """Slope and intercept; 1 and 0 where there are none."""
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    return (1.0 if slope is None else slope, 0.0 if intercept is None else intercept)


def _numbers(dataset: Any, name: str, count: int) -> tuple[float, ...] | None:
    """A list of `count` numbers. Raises ValueError for another count or what is not finite."""
    value = dataset.get(name)
    if value is None or value == "" or (count > 1 and len(value) == 0):
        return None
    numbers = tuple(float(part) for part in ([value] if count == 1 else value))
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name} is {value}")
    return numbers


def _number(dataset: Any, name: str) -> float | None:
    found = _numbers(dataset, name, 1)
    return None if found is None else found[0]


def _whole(value: Any) -> int | None:
    return None if value is None or value == "" else int(value)


def _time_of_day(text: Any) -> float | None:
    """Seconds from HHMMSS.FFFFFF; None where it is not one."""
    digits = str(text or "")
    if len(digits) < 6 or not digits[:6].isdigit():
        return None
    fraction = digits[6:].split("+")[0].split("-")[0]
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:6])
    return hours * 3600 + minutes * 60 + seconds + (float(f"0{fraction}") if len(fraction) > 1 else 0.0)
