"""What a header says of each frame: its place, its time, its scale; for one frame a file as for many.

Values are those of the DICOM attributes, None where the file does not say. Positions and directions are LPS,
in mm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldseg.data.formats.dicom.lazy_import import lazy_import, read_dataset, reading
from ldseg.errors import file_error

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of segmentations: binary or fractional, and label maps."""
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7."
_NO_IMAGES = ("1.2.840.10008.5.1.4.1.1.481.2", "1.2.840.10008.5.1.4.1.1.4.2")
"""SOP classes of what has rows and columns and is no image: doses, spectra."""
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_CENTIMETRES = 3  # code of PhysicalUnitsXDirection in an ultrasound region
_TISSUE = 1  # RegionSpatialFormat: two-dimensional


@dataclass(frozen=True)
class ImagePlane:
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
    source: str = ""
    """The attribute that `spacing` is from; empty where there is none."""


@dataclass(frozen=True)
class FrameTime:
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
    plane: ImagePlane
    time: FrameTime
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
    image_type: tuple[str, ...] = ()
    """ImageType: what the scanner says of its origin."""
    generated: tuple[str, ...] = ()
    """UIDs that it lacks, and that are made up for a segmentation of it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is changed on reading or assumed on writing, a sentence each."""
        notes: list[str] = []
        if self.generated:
            lacking = ", ".join(self.generated)
            notes.append(
                f"the header has no {lacking}: a DICOM segmentation of it gets what is generated instead"
            )
        if self.pixels[3] == "MONOCHROME1":
            notes.append("MONOCHROME1 is inverted, so that bright is bright as in other images")
        return tuple(notes)

    @property
    def is_segmentation(self) -> bool:
        """Whether it holds segments instead of intensities."""
        return self.sop_class in SEGMENTATIONS

    @property
    def is_colour(self) -> bool:
        """Whether its pixels have colours, by themselves or by a palette."""
        return self.pixels[3] not in ("MONOCHROME1", "MONOCHROME2")

    @property
    def is_localizer(self) -> bool:
        """Whether the scanner calls it a localizer (scout, topogram)."""
        return "LOCALIZER" in self.image_type

    @property
    def is_screenshot(self) -> bool:
        """Whether it is a secondary capture, or a screen that was saved."""
        return f"{self.sop_class}.".startswith(_SECONDARY_CAPTURE) or "SCREEN SAVE" in self.image_type


@dataclass(frozen=True)
class OtherObject:
    """A file of DICOM that holds no image to be segmented."""

    file: Path
    what: str
    """The name of its kind, e.g. "RT Structure Set"."""


def read_header(path: Path) -> Header | OtherObject:
    """The header of a file, or what it is instead of an image (a report, a structure set, a dose, DICOMDIR).

    Raises InputError when the file is damaged.
    """
    dataset = read_dataset(path)
    with reading(path):
        kind: Any = lazy_import("pydicom.uid").UID(str(dataset.SOPClassUID))
        no_image = str(kind) in _NO_IMAGES
        if "Rows" in dataset and "Columns" in dataset and not no_image:
            return _header(dataset, path)
        if not kind.is_valid or ("Image" in kind.name and not no_image):
            raise ValueError("no Rows and Columns")
        name = "private object" if kind.name == kind else kind.name
        return OtherObject(path, name.removesuffix(" Storage"))


def _header(dataset: Any, path: Path) -> Header:
    if "ConcatenationUID" in dataset:
        raise file_error(path, "is one part of a concatenation of files", "export it as one file")
    count = int(dataset.get("NumberOfFrames") or 1)
    if not 0 < count <= max(path.stat().st_size, 1):
        raise ValueError(f"it declares {count} frames")
    if count > 1 and "TotalPixelMatrixRows" in dataset and dataset.SOPClassUID not in SEGMENTATIONS:
        finding = f"is a slide that is cut into {count} tiles"
        raise file_error(path, finding, "convert it to a tiled TIFF")
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
        image_type=_texts(dataset.get("ImageType")),
        generated=tuple(name for name in _UIDS if not dataset.get(name) and _is_asked(name, frames)),
    )


def _is_asked(name: str, frames: Sequence[Frame]) -> bool:
    """Whether an image of these frames should have the UID; pictures have no frame of reference."""
    return name != "FrameOfReferenceUID" or any(frame.plane.position for frame in frames)


def _texts(value: Any) -> tuple[str, ...]:
    """One or several texts, in capital letters."""
    values = [] if value is None else [value] if isinstance(value, str) else value
    return tuple(str(part).strip().upper() for part in values)


def _plain_frames(dataset: Any, path: Path, count: int) -> tuple[Frame, ...]:
    """Frames of an object that has one place for all of them."""
    spacing, source = _pixel_spacing(dataset)
    plane = ImagePlane(
        _numbers(dataset, "ImageOrientationPatient", 6),
        _numbers(dataset, "ImagePositionPatient", 3),
        spacing,
        *_between_slices(dataset),
        source,
    )
    slope, intercept = _scale(dataset)
    if count == 1:
        milliseconds = _optional(dataset, "TriggerTime")
        time = FrameTime(
            None if milliseconds is None else milliseconds / 1000,
            _whole(dataset.get("TemporalPositionIdentifier")),
            _time_of_day(dataset.get("AcquisitionTime") or dataset.get("ContentTime")),
            _whole(dataset.get("InstanceNumber")) or 0,
        )
        return (Frame(path, 0, plane, time, slope, intercept),)
    seconds = _film_times(dataset, count)
    return tuple(
        Frame(path, n, plane, FrameTime(seconds[n], None, None, n), slope, intercept) for n in range(count)
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
    spacing = _numbers(measures, "PixelSpacing", 2)
    spacing = spacing if spacing is not None and any(spacing) else None
    plane = ImagePlane(
        _numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        _numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3),
        spacing,
        *_between_slices(measures),
        "" if spacing is None else "PixelSpacing",
    )
    content, cardiac = group("FrameContentSequence"), group("CardiacSynchronizationSequence")
    milliseconds = _optional(cardiac, "NominalCardiacTriggerDelayTime")
    time = FrameTime(
        None if milliseconds is None else milliseconds / 1000,
        _whole(content.get("TemporalPositionIndex")),
        _time_of_day(str(content.get("FrameAcquisitionDateTime") or "")[8:]),
        index,
    )
    slope, intercept = _scale(group("PixelValueTransformationSequence"))
    segment = _whole(group("SegmentIdentificationSequence").get("ReferencedSegmentNumber"))
    return Frame(path, index, plane, time, slope, intercept, segment)


def _pixel_spacing(dataset: Any) -> tuple[tuple[float, ...] | None, str]:
    """Between rows and between columns, and the attribute that says it; None and "" where none does."""
    own = _numbers(dataset, "PixelSpacing", 2)
    if own is not None and any(own):
        return own, "PixelSpacing"
    regions = [
        region
        for region in dataset.get("SequenceOfUltrasoundRegions") or []
        if region.get("RegionSpatialFormat") == _TISSUE
    ]
    found = {_region_spacing(region) for region in regions}
    if len(found) == 1 and None not in found:
        return found.pop(), "SequenceOfUltrasoundRegions"
    for name in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        elsewhere = _numbers(dataset, name, 2)
        if elsewhere is not None and any(elsewhere):
            return elsewhere, name
    return None, ""


def _region_spacing(region: Any) -> tuple[float, float] | None:
    """Of an ultrasound region in mm; None where its unit is no length or its size is 0."""
    units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
    across, down = (_number(region, name) for name in ("PhysicalDeltaX", "PhysicalDeltaY"))
    if units != (_CENTIMETRES, _CENTIMETRES) or not across or not down:
        return None
    return abs(down) * 10, abs(across) * 10


def _between_slices(dataset: Any) -> tuple[float | None, float | None]:
    """Return `thickness` and `between` of an `ImagePlane`; nuclear medicine may have negative numbers."""
    between = abs(_optional(dataset, "SpacingBetweenSlices") or 0.0) or None
    return between or _optional(dataset, "SliceThickness") or None, between


def _film_times(dataset: Any, count: int) -> list[float | None]:
    """Seconds of each frame since the first, from frame time, its vector or the rate."""
    vector = _numbers(dataset, "FrameTimeVector", count)
    if vector is not None:
        return [sum(vector[1 : n + 1]) / 1000 for n in range(count)]
    step = _optional(dataset, "FrameTime")
    rate = _optional(dataset, "CineRate") or _optional(dataset, "RecommendedDisplayFrameRate")
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


def _optional(dataset: Any, name: str) -> float | None:
    """A number that an image is read without as well; None where it is none."""
    try:
        return _number(dataset, name)
    except (TypeError, ValueError):
        return None


def _whole(value: Any) -> int | None:
    """A whole number that an image is read without as well; None where it is none."""
    try:
        return None if value is None or value == "" else int(value)
    except (TypeError, ValueError):
        return None


def _time_of_day(text: Any) -> float | None:
    """Seconds from HHMMSS.FFFFFF; None where it is not one."""
    digits = str(text or "")
    if len(digits) < 6 or not digits[:6].isdigit():
        return None
    fraction = digits[6:].split("+")[0].split("-")[0]
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:6])
    return hours * 3600 + minutes * 60 + seconds + (float(f"0{fraction}") if len(fraction) > 1 else 0.0)
