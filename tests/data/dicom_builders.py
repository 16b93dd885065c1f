"""Small DICOM files: series, enhanced and plain multi-frame objects, images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
MR, US_FILM = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.3.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
Change = Callable[[Any, int], None]


def uid(*words: object) -> str:
    """A UID that depends on the words only."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=[str(word) for word in words]))


def a_dataset(sop_class: str, series: str, instance: object) -> Any:
    """What every object has."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid(series, instance)
    dataset.StudyInstanceUID = uid("study")
    dataset.SeriesInstanceUID = uid(series)
    dataset.FrameOfReferenceUID = uid("frame of reference")
    dataset.PatientName, dataset.PatientID = "Nobody^Nora", "1"
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.StudyID = ""
    dataset.ReferringPhysicianName = ""
    dataset.Modality, dataset.SeriesNumber = "OT", 1
    dataset.PositionReferenceIndicator = ""
    return dataset


def put_pixels(dataset: Any, pixels: np.ndarray, photometric: str = "MONOCHROME2") -> None:
    """Pixels ([N, ]Y, X[, 3]) of 8 or 16 bits with the attributes that describe them."""
    colour = pixels.shape[-1] == 3 and photometric != "MONOCHROME2"
    shape = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    dataset.Rows, dataset.Columns = shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3 if colour else 1, photometric
    if colour:
        dataset.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    content = np.ascontiguousarray(pixels).tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)


def save(dataset: Any, path: Path) -> Path:
    """Write the file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def normal(orientation: tuple[float, ...]) -> np.ndarray:
    """Across the slices."""
    return np.cross(orientation[:3], orientation[3:])


def a_series(
    folder: Path,
    voxels: np.ndarray,
    spacing: tuple[float, ...] = (2.0, 0.7, 0.5),
    orientation: tuple[float, ...] = AXIAL,
    origin: tuple[float, ...] = (-10.0, -20.0, 30.0),
    series: str = "series",
    change: Change = lambda _dataset, _number: None,
    name: Callable[[int], str] = lambda number: f"IM{number:03d}.dcm",
    sop_class: str = CT,
) -> Path:
    """A file per slice of (Z, Y, X); `change(dataset, number)` may spoil each before it is written."""
    count = len(voxels)
    for number, pixels in enumerate(voxels):
        dataset = a_dataset(sop_class, series, number)
        dataset.InstanceNumber = number + 1
        dataset.ImageOrientationPatient = list(orientation)
        place = np.asarray(origin) + number * spacing[0] * normal(orientation)
        dataset.ImagePositionPatient = [float(value) for value in place]
        dataset.PixelSpacing = [spacing[1], spacing[2]]
        dataset.SliceThickness = spacing[0]
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        put_pixels(dataset, pixels)
        change(dataset, number)
        # Names run against the order of the slices: only positions say it.
        save(dataset, folder / name(count - number))
    return folder


def sequence(**values: Any) -> Any:
    """A sequence of one item."""
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return [item]


def enhanced(
    path: Path,
    voxels: np.ndarray,
    order: list[int],
    spacing: tuple[float, ...] = (2.0, 0.7, 0.5),
    orientation: tuple[float, ...] = AXIAL,
    origin: tuple[float, ...] = (-10.0, -20.0, 30.0),
    scale: Callable[[int], tuple[float, float]] = lambda _slice: (1.0, 0.0),
) -> Path:
    """An enhanced CT whose frame n is the slice `order[n]` of (Z, Y, X)."""
    from pydicom.dataset import Dataset

    dataset = a_dataset(ENHANCED_CT, "enhanced", path.name)
    dataset.InstanceNumber = 1
    dataset.NumberOfFrames = len(order)
    shared = Dataset()
    shared.PixelMeasuresSequence = sequence(
        PixelSpacing=[spacing[1], spacing[2]], SliceThickness=spacing[0], SpacingBetweenSlices=spacing[0]
    )
    shared.PlaneOrientationSequence = sequence(ImageOrientationPatient=list(orientation))
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for number in order:
        own = Dataset()
        place = np.asarray(origin) + number * spacing[0] * normal(orientation)
        own.PlanePositionSequence = sequence(ImagePositionPatient=[float(value) for value in place])
        slope, intercept = scale(number)
        own.PixelValueTransformationSequence = sequence(
            RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU"
        )
        own.FrameContentSequence = sequence(DimensionIndexValues=[number + 1])
        groups.append(own)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.DimensionIndexSequence = sequence(
        DimensionIndexPointer=0x00200032, FunctionalGroupPointer=0x00209113, DimensionOrganizationUID=uid("d")
    )
    dataset.DimensionOrganizationSequence = sequence(DimensionOrganizationUID=uid("d"))
    put_pixels(dataset, voxels[order])
    return save(dataset, path)


def a_cine(path: Path, frames: np.ndarray, photometric: str = "MONOCHROME2", **values: Any) -> Path:
    """An ultrasound clip of (N, Y, X[, 3])."""
    dataset = a_dataset(US_FILM, "clips", path.name)
    dataset.Modality = "US"
    del dataset.FrameOfReferenceUID
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, len(frames)
    put_pixels(dataset, frames, photometric)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return save(dataset, path)


def a_single_image(path: Path, pixels: np.ndarray, photometric: str = "MONOCHROME2", **values: Any) -> Path:
    """One frame without a place."""
    dataset = a_dataset("1.2.840.10008.5.1.4.1.1.7", "images", path.name)
    dataset.InstanceNumber, dataset.ConversionType = 1, "WSD"
    put_pixels(dataset, pixels, photometric)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return save(dataset, path)
