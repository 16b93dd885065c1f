"""Parse DICOM headers into frames with position, time and scale, for single- and multi-frame files.

Values are those of the DICOM attributes, None if the file lacks them. Positions and directions are LPS,
in mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldseg.data.formats.dicom.lazy_import import lazy_import, read_dataset, translate_dicom_errors
from ldseg.errors import file_error

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of segmentations: binary or fractional, and label maps."""
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7."
_NO_IMAGES = ("1.2.840.10008.5.1.4.1.1.481.2", "1.2.840.10008.5.1.4.1.1.4.2")
"""SOP classes with rows and columns that are not images: doses, spectra."""
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_CENTIMETRES = 3  # code of PhysicalUnitsXDirection in an ultrasound region
_TISSUE = 1  # RegionSpatialFormat: two-dimensional


@dataclass(frozen=True)
class ImagePlane:
    """The position, orientation and pixel size of a frame."""

    orientation: tuple[float, ...] | None
    """Unit vectors along a row and along a column (6 values)."""
    position: tuple[float, ...] | None
    """Centre of the first pixel (3 values)."""
    spacing: tuple[float, ...] | None
    """Between rows, between columns."""
    thickness: float | None
    """Distance between slices, or a slice's thickness; only used for single slices."""
    between: float | None = None
    """Distance between slices (SpacingBetweenSlices), if given."""
    source: str = ""
    """The attribute that `spacing` comes from; empty if there is none."""


@dataclass(frozen=True)
class FrameTime:
    """The time of a frame; frames are sorted by the first of these values that is distinct for all."""

    seconds: float | None
    """Trigger time, or time since the first frame."""
    index: int | None
    """Number of the temporal position."""
    acquired: float | None
    """Time of day in seconds."""
    number: int
    """InstanceNumber, or the frame's number in its file."""


@dataclass(frozen=True)
class Frame:
    """A frame of a file."""

    file: Path
    index: int
    """Index in its file, from 0."""
    plane: ImagePlane
    time: FrameTime
    slope: float
    intercept: float
    segment: int | None = None
    """ReferencedSegmentNumber, in segmentations."""


@dataclass(frozen=True)
class Header:
    """The header of a file: its series, its pixel format and its frames."""

    file: Path
    series: str
    """SeriesInstanceUID."""
    series_number: int | None
    sop_class: str
    pixels: tuple[object, ...]
    """Rows, columns, samples, photometric interpretation, bits, signedness: equal in one image."""
    has_table: bool
    """Whether a modality lookup table replaces slope and intercept."""
    multi: bool
    """Whether the object type can hold several frames, even if it holds one."""
    frames: tuple[Frame, ...]
    image_type: tuple[str, ...] = ()
    """ImageType, the origin of the image as given by the scanner."""
    generated: tuple[str, ...] = ()
    """UIDs that are missing and generated for segmentations of it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Return notes about changes on reading and assumptions on writing."""
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
        """Return whether the file holds segments instead of intensities."""
        return self.sop_class in SEGMENTATIONS

    @property
    def is_colour(self) -> bool:
        """Return whether the pixels have colours, directly or by a palette."""
        return self.pixels[3] not in ("MONOCHROME1", "MONOCHROME2")

    @property
    def is_localizer(self) -> bool:
        """Return whether the scanner calls it a localizer (scout, topogram)."""
        return "LOCALIZER" in self.image_type

    @property
    def is_screenshot(self) -> bool:
        """Return whether it is a secondary capture or a saved screen."""
        return f"{self.sop_class}.".startswith(_SECONDARY_CAPTURE) or "SCREEN SAVE" in self.image_type


@dataclass(frozen=True)
class OtherObject:
    """A DICOM file without an image to segment."""

    file: Path
    what: str
    """Name of its SOP class, e.g. "RT Structure Set"."""


def read_header(path: Path) -> Header | OtherObject:
    """Return the header of an image file, or an `OtherObject` (report, structure set, dose, DICOMDIR).

    Raises InputError when the file is damaged.
    """
    dataset = read_dataset(path)
    with translate_dicom_errors(path):
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
    positioned = any(frame.plane.position for frame in frames)  # other images have no frame of reference
    required = [name for name in _UIDS if positioned or name != "FrameOfReferenceUID"]
    image_type = dataset.get("ImageType") or ()
    image_type = (image_type,) if isinstance(image_type, str) else image_type
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
        image_type=tuple(str(part).strip().upper() for part in image_type),
        generated=tuple(name for name in required if not dataset.get(name)),
    )


def _plain_frames(dataset: Any, path: Path, count: int) -> tuple[Frame, ...]:
    """Return the frames of an object with one position for all frames."""
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
    seconds = _cine_times(dataset, count)
    return tuple(
        Frame(path, n, plane, FrameTime(seconds[n], None, None, n), slope, intercept) for n in range(count)
    )


def _enhanced_frames(dataset: Any, path: Path, count: int) -> tuple[Frame, ...]:
    """Return the frames of an object with functional groups, each with its own position."""
    groups = dataset.PerFrameFunctionalGroupsSequence
    if len(groups) != count:
        raise ValueError(f"it declares {count} frames and describes {len(groups)}")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    return tuple(_enhanced_frame(group, shared, path, n) for n, group in enumerate(groups))


def _enhanced_frame(own: Any, shared: Any, path: Path, index: int) -> Frame:
    def group(name: str) -> Any:
        """Return the item of a functional group: the frame's own, the shared one, or an empty one."""
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
    """Return the distances between rows and columns, and the attribute that gives them ("" if none)."""
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
    """Return the pixel size of an ultrasound region in mm; None if its unit is no length or its size is 0."""
    units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
    across, down = (_number(region, name) for name in ("PhysicalDeltaX", "PhysicalDeltaY"))
    if units != (_CENTIMETRES, _CENTIMETRES) or not across or not down:
        return None
    return abs(down) * 10, abs(across) * 10


def _between_slices(dataset: Any) -> tuple[float | None, float | None]:
    """Return `thickness` and `between` of an `ImagePlane`; nuclear medicine may have negative numbers."""
    between = abs(_optional(dataset, "SpacingBetweenSlices") or 0.0) or None
    return between or _optional(dataset, "SliceThickness") or None, between


def _cine_times(dataset: Any, count: int) -> list[float | None]:
    """Return the seconds of each frame since the first, from FrameTimeVector, FrameTime or the frame rate."""
    vector = _numbers(dataset, "FrameTimeVector", count)
    if vector is not None:
        return [sum(vector[1 : n + 1]) / 1000 for n in range(count)]
    step = _optional(dataset, "FrameTime")
    rate = _optional(dataset, "CineRate") or _optional(dataset, "RecommendedDisplayFrameRate")
    if not step and rate:
        step = 1000 / rate
    return [n * step / 1000 if step else None for n in range(count)]


def _scale(dataset: Any) -> tuple[float, float]:
    """Return slope and intercept; 1 and 0 if there are none."""
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    return (1.0 if slope is None else slope, 0.0 if intercept is None else intercept)


def _numbers(dataset: Any, name: str, count: int) -> tuple[float, ...] | None:
    """Return an attribute's `count` numbers, or None. Raises ValueError if it is invalid."""
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
    """Return the number of an optional attribute; None if it is missing or invalid."""
    try:
        return _number(dataset, name)
    except (TypeError, ValueError):
        return None


def _whole(value: Any) -> int | None:
    """Return an optional value as an integer; None if it is missing or invalid."""
    try:
        return None if value is None or value == "" else int(value)
    except (TypeError, ValueError):
        return None


def _time_of_day(text: Any) -> float | None:
    """Return the seconds of a time HHMMSS.FFFFFF; None if it is invalid."""
    digits = str(text or "")
    if len(digits) < 6 or not digits[:6].isdigit():
        return None
    fraction = digits[6:].split("+")[0].split("-")[0]
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:6])
    return hours * 3600 + minutes * 60 + seconds + (float(f"0{fraction}") if len(fraction) > 1 else 0.0)
