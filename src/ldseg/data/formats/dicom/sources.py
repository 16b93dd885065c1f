"""What a segmentation takes over from its image: patient, study, references and place.

Files often lack attributes that DICOM requires, because they were de-identified, or hold values that it
forbids. highdicom gets data sets made here instead: what can be taken over is, an attribute that may be empty
is empty where it is missing or illegal, and a missing UID is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from ldseg.data.formats.dicom.frames import Frame
from ldseg.data.formats.dicom.lazy_import import lazy_import, read_dataset
from ldseg.errors import file_error

ELSEWHERE = "choose another format, e.g. --format .nii.gz"
"""The remedy for an image that can have no segmentation in DICOM."""
_COPIED = (0x0008, 0x0010, 0x0012, 0x0020, 0x0038, 0x0040)
"""Groups of attributes about patient, study and specimen."""
_PLACE = ("ImageCenterPointCoordinatesSequence", "ImagePositionPatient", "ImageOrientationPatient")
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
"""Attributes of type 2 that highdicom asks for."""
_UTF8 = "ISO_IR 192"


@dataclass(frozen=True)
class VoxelSteps:
    """Distances of voxels in mm; None where nothing says them."""

    slices: float | None
    pixels: tuple[float, float] | None
    """Between rows, between columns."""


def source_images(frames: Sequence[Frame], steps: VoxelSteps, size: tuple[int, int]) -> list[Any]:
    """Return a data set per file of `frames`, with all that highdicom asks of a source image.

    `size` is rows and columns. Raises FileError where no segmentation can refer to the files.
    """
    files = list(dict.fromkeys(frame.file for frame in frames))
    sources = [_identified(read_dataset(file), frames[0]) for file in files]
    named = [str(source.SOPInstanceUID) for source in sources]
    for number, name in enumerate(named):
        if name in named[:number]:
            other = files[named.index(name)].name
            finding = f"has the SOPInstanceUID of {other}, so no segmentation can refer to it"
            raise file_error(files[number], finding, ELSEWHERE)
    placed = steps.pixels is not None and all(
        frame.plane.position and frame.plane.orientation for frame in frames
    )
    if len(frames) > 1 and not placed:
        lacking = "place of its frames" if steps.pixels else "size of its pixels (PixelSpacing)"
        finding = f"does not say the {lacking}, which a DICOM segmentation needs"
        raise file_error(frames[0].file, finding, ELSEWHERE)
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
    """The data set's patient, study and UIDs, made whole."""
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
    """Take one attribute over, unless it cannot be decoded or written."""
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
    """Whether highdicom accepts the value of an attribute that may be empty."""
    values = lazy_import("pydicom").valuerep
    try:
        if name == "PatientSex":
            return str(value or "") in ("", "M", "F", "O")
        if name.endswith("Date"):
            values.DA(value or "")
        elif name.endswith("Time"):
            values.TM(value or "")
        else:
            return value is None or not hasattr(value, "append")  # several values where there is one
    except (TypeError, ValueError):
        return False
    return True


def _put_text_encoding(source: Any) -> None:
    """Texts are written as UTF-8 where the declared character set is none."""
    if "SpecificCharacterSet" not in source:
        return
    declared = source.SpecificCharacterSet
    known = lazy_import("pydicom").charset.python_encoding
    names = [declared] if isinstance(declared, str) else list(declared or [""])
    if any(str(name) not in known for name in names):
        source.SpecificCharacterSet = _UTF8


def _put_uids(source: Any, dataset: Any, first: Frame) -> None:
    """The UIDs that a segmentation refers to; all but those of the object itself may be made up."""
    uid = lazy_import("pydicom.uid")
    own = {name: str(dataset.get(name) or "") for name in ("SOPClassUID", "SOPInstanceUID")}
    for name, value in own.items():
        if not uid.UID(value).is_valid:
            finding = f"has no usable {name}, so no segmentation can refer to it"
            raise file_error(dataset.filename, finding, ELSEWHERE)
        setattr(source, name, value)
    series = str(dataset.get("SeriesInstanceUID") or first.file.parent.resolve())
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        value = str(dataset.get(name) or "")
        setattr(
            source, name, value if uid.UID(value).is_valid else uid.generate_uid(entropy_srcs=[name, series])
        )


def _put_measures(target: Any, steps: VoxelSteps) -> None:
    """Size of a voxel, as far as it is known."""
    if steps.pixels is not None:
        target.PixelSpacing = _decimals(steps.pixels)
    target.SliceThickness = None
    if steps.slices is not None:
        target.SliceThickness, target.SpacingBetweenSlices = _decimals((steps.slices, steps.slices))


def _put_groups(source: Any, own: Sequence[Frame], placed: bool) -> None:
    """Size and place as the kinds of objects that may hold many frames have them."""
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
    """The functional groups of one frame: its position."""
    pydicom = lazy_import("pydicom")
    group, place = pydicom.Dataset(), pydicom.Dataset()
    place.ImagePositionPatient = _decimals(frame.plane.position or ())
    group.PlanePositionSequence = [place]
    return group


def _decimals(values: Sequence[float]) -> list[Any]:
    """Numbers as DICOM writes them, in at most 16 characters."""
    make = lazy_import("pydicom").valuerep.DSfloat
    return [make(value, auto_format=True) for value in values]
