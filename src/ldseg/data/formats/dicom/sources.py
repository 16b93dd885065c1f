"""Prepare the source images of a segmentation: patient, study, references and position.

Files often lack attributes that DICOM requires, because they were de-identified, or hold invalid
values. highdicom gets data sets built here instead: valid attributes are copied, one that may be empty
is empty if it is missing or invalid, and missing UIDs are generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from ldseg.data.formats.dicom.frames import Frame
from ldseg.data.formats.dicom.lazy_import import lazy_import, read_dataset
from ldseg.errors import file_error

OTHER_FORMAT = "choose another format, e.g. --format .nii.gz"
"""Remedy for an image that cannot have a DICOM segmentation."""
_COPIED = (0x0008, 0x0010, 0x0012, 0x0020, 0x0038, 0x0040)
"""Attribute groups about patient, study and specimen."""
_PLACE = ("ImageCenterPointCoordinatesSequence", "ImagePositionPatient", "ImageOrientationPatient")
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
"""Attributes of type 2 (may be empty) that highdicom requires."""
_UTF8 = "ISO_IR 192"


@dataclass(frozen=True)
class VoxelSteps:
    """Voxel steps in mm; None if unknown."""

    slices: float | None
    pixels: tuple[float, float] | None
    """Distance between rows and between columns."""


def source_images(frames: Sequence[Frame], steps: VoxelSteps, size: tuple[int, int]) -> list[Any]:
    """Return a data set per file of `frames`, with everything highdicom requires of a source image.

    `size` is (rows, columns). Raises FileError if no segmentation can refer to the files.
    """
    files = list(dict.fromkeys(frame.file for frame in frames))
    sources = [_identified(read_dataset(file), frames[0]) for file in files]
    named = [str(source.SOPInstanceUID) for source in sources]
    for number, name in enumerate(named):
        if name in named[:number]:
            other = files[named.index(name)].name
            finding = f"has the SOPInstanceUID of {other}, so no segmentation can refer to it"
            raise file_error(files[number], finding, OTHER_FORMAT)
    placed = steps.pixels is not None and all(
        frame.plane.position and frame.plane.orientation for frame in frames
    )
    if len(frames) > 1 and not placed:
        lacking = "place of its frames" if steps.pixels else "size of its pixels (PixelSpacing)"
        finding = f"does not say the {lacking}, which a DICOM segmentation needs"
        raise file_error(frames[0].file, finding, OTHER_FORMAT)
    for source, file in zip(sources, files, strict=True):
        source.Rows, source.Columns = size
        own = sorted((frame for frame in frames if frame.file == file), key=lambda frame: frame.index)
        if placed:
            source.ImageOrientationPatient = _decimals(frames[0].plane.orientation or ())
            source.ImagePositionPatient = _decimals(own[0].plane.position or ())
        else:
            source.pop("FrameOfReferenceUID", None)
        _put_measures(source, steps)
        _put_groups(source, own, placed)
    return sources


def _identified(dataset: Any, first: Frame) -> Any:
    """Return a data set with valid patient, study and UID attributes."""
    source = lazy_import("pydicom").Dataset()
    source.file_meta = dataset.file_meta
    for tag in [tag for tag in dataset.keys() if tag.group in _COPIED]:  # noqa: SIM118
        _copy(dataset, tag, source)
    for name in _LOSSY:
        if name in dataset:
            _copy(dataset, lazy_import("pydicom").datadict.tag_for_keyword(name), source)
    for name in _PLACE:
        source.pop(name, None)
    for name in _MAY_BE_EMPTY:
        if name not in source or not _is_legal(name, source[name].value):
            setattr(source, name, "")
    _put_text_encoding(source)
    source.Modality = str(source.get("Modality") or "OT")
    _put_uids(source, dataset, first)
    return source


def _copy(dataset: Any, tag: Any, source: Any) -> None:
    """Copy one attribute, unless it cannot be decoded or written."""
    pydicom = lazy_import("pydicom")
    try:
        element = dataset[tag]
        alone = pydicom.Dataset()
        alone.add(element)
        alone.save_as(BytesIO(), implicit_vr=False, little_endian=True)
    except Exception:  # pydicom raises anything on damaged values
        return
    source.add(element)


def _is_legal(name: str, value: Any) -> bool:
    """Return whether highdicom accepts the value of an attribute that may be empty."""
    values = lazy_import("pydicom").valuerep
    try:
        if name == "PatientSex":
            return str(value or "") in ("", "M", "F", "O")
        if name.endswith("Date"):
            values.DA(value or "")
        elif name.endswith("Time"):
            values.TM(value or "")
        else:
            return value is None or not hasattr(value, "append")  # several values instead of one
    except (TypeError, ValueError):
        return False
    return True


def _put_text_encoding(source: Any) -> None:
    """Declare UTF-8 if the declared character set is unknown."""
    if "SpecificCharacterSet" not in source:
        return
    declared = source.SpecificCharacterSet
    known = lazy_import("pydicom").charset.python_encoding
    names = [declared] if isinstance(declared, str) else list(declared or [""])
    if any(str(name) not in known for name in names):
        source.SpecificCharacterSet = _UTF8


def _put_uids(source: Any, dataset: Any, first: Frame) -> None:
    """Set the UIDs to which a segmentation refers; all but the object's own are generated if invalid."""
    uid = lazy_import("pydicom.uid")
    own = {name: str(dataset.get(name) or "") for name in ("SOPClassUID", "SOPInstanceUID")}
    for name, value in own.items():
        if not uid.UID(value).is_valid:
            finding = f"has no usable {name}, so no segmentation can refer to it"
            raise file_error(dataset.filename, finding, OTHER_FORMAT)
        setattr(source, name, value)
    series = str(dataset.get("SeriesInstanceUID") or first.file.parent.resolve())
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        value = str(dataset.get(name) or "")
        setattr(
            source, name, value if uid.UID(value).is_valid else uid.generate_uid(entropy_srcs=[name, series])
        )


def _put_measures(target: Any, steps: VoxelSteps) -> None:
    """Set the known voxel steps."""
    if steps.pixels is not None:
        target.PixelSpacing = _decimals(steps.pixels)
    target.SliceThickness = None
    if steps.slices is not None:
        target.SliceThickness, target.SpacingBetweenSlices = _decimals((steps.slices, steps.slices))


def _put_groups(source: Any, own: Sequence[Frame], placed: bool) -> None:
    """Set voxel size and position in functional groups, as multi-frame objects have them."""
    pydicom = lazy_import("pydicom")
    shared, measures = pydicom.Dataset(), pydicom.Dataset()
    for name in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"):
        if source.get(name) is not None:
            setattr(measures, name, source[name].value)
    shared.PixelMeasuresSequence = [measures]
    if placed:
        orientation = pydicom.Dataset()
        orientation.ImageOrientationPatient = source.ImageOrientationPatient
        shared.PlaneOrientationSequence = [orientation]
        source.PerFrameFunctionalGroupsSequence = [_plane(frame) for frame in own]
    source.NumberOfFrames = len(own)
    source.SharedFunctionalGroupsSequence = [shared]


def _plane(frame: Frame) -> Any:
    """Return the functional groups of one frame, with its position."""
    pydicom = lazy_import("pydicom")
    group, place = pydicom.Dataset(), pydicom.Dataset()
    place.ImagePositionPatient = _decimals(frame.plane.position or ())
    group.PlanePositionSequence = [place]
    return group


def _decimals(values: Sequence[float]) -> list[Any]:
    """Return numbers as DICOM decimal strings of at most 16 characters."""
    make = lazy_import("pydicom").valuerep.DSfloat
    return [make(value, auto_format=True) for value in values]
