"""Files that lack attributes, as anonymisers leave them: read, and given a segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="the extra dicom is not installed")

import pydicom
from dicom_builders import a_series, a_single_image, enhanced
from test_dicom import voxels

from ldseg.data.formats import check_labels_of, read_volume, write_volume
from ldseg.data.formats.dicom import with_segments
from ldseg.data.formats.dicom.segments import Segment
from ldseg.data.geometry import affine
from ldseg.data.volume import Volume
from ldseg.errors import InputError

TYPE_2 = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "SliceThickness", "SeriesNumber"),
    *(
        "Modality",
        "PositionReferenceIndicator",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "SeriesInstanceUID",
    ),
)


def without(*names: str) -> Any:
    """Removes attributes from each file."""

    def change(dataset: Any, _number: int) -> None:
        for name in names:
            dataset.pop(name, None)

    return change


def with_value(name: str, value: Any) -> Any:
    """Gives an attribute the same value in each file."""

    def change(dataset: Any, _number: int) -> None:
        setattr(dataset, name, value)

    return change


def written(image: Volume, path: Path) -> Volume:
    """What comes back of a label map of `image`, which must be the same."""
    rng = np.random.default_rng(4)
    labels = image.with_array(rng.integers(0, 2, (1, *image.shape)).astype(np.uint8), "labels")
    labels = with_segments(labels, (Segment(1, "thing"),))
    check_labels_of(image, path, ".dcm")
    write_volume(path, labels)
    read = read_volume(path, "labels", image.axes)
    np.testing.assert_array_equal(read.array, labels.array)
    return read


@pytest.mark.parametrize(
    "names", [*((name,) for name in TYPE_2), TYPE_2], ids=lambda names: f"{len(names)}{names[0]}"
)
def test_a_series_without_an_attribute_has_a_segmentation(names: tuple[str, ...], tmp_path: Path) -> None:
    image = read_volume(a_series(tmp_path / "scan", voxels(), change=without(*names)), "image")
    read = written(image, tmp_path / "seg.dcm")
    np.testing.assert_allclose(affine(read), affine(image), atol=1e-9)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert all(not seg.get(name) for name in TYPE_2[:9] if name in names)
    assert seg.StudyInstanceUID.is_valid
    assert seg.FrameOfReferenceUID.is_valid


@pytest.mark.parametrize(
    "name, value",
    [
        ("PatientSex", "X"),
        ("PatientBirthDate", "unknown"),
        ("StudyDate", "2020"),
        ("StudyTime", "noon"),
        ("PatientID", ["a", "b"]),
        ("StudyInstanceUID", ""),
        ("SpecificCharacterSet", "nonsense"),
        ("SliceThickness", None),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_illegal_values_are_written_empty(name: str, value: Any, tmp_path: Path) -> None:
    image = read_volume(a_series(tmp_path / "scan", voxels(), change=with_value(name, value)), "image")
    written(image, tmp_path / "seg.dcm")


def test_segmentations_of_one_study_without_uid_share_what_is_made_up(tmp_path: Path) -> None:
    image = read_volume(a_series(tmp_path / "scan", voxels(), change=without("StudyInstanceUID")), "image")
    for name in ("a.dcm", "b.dcm"):
        written(image, tmp_path / name)
    first, second = (pydicom.dcmread(tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert any("StudyInstanceUID" in note for note in image.notes)


@pytest.mark.parametrize("thickness", [1.0, 5.0])
def test_slices_thicker_or_thinner_than_their_distance_come_back(thickness: float, tmp_path: Path) -> None:
    change = with_value("SliceThickness", thickness)
    image = read_volume(a_series(tmp_path / "scan", voxels(), change=change), "image")
    read = written(image, tmp_path / "seg.dcm")
    np.testing.assert_allclose(affine(read), affine(image), atol=1e-9)


def test_an_enhanced_object_may_lack_them_too(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "one.dcm", voxels(), list(range(5)))
    dataset = pydicom.dcmread(path)
    without(*TYPE_2)(dataset, 0)
    dataset.save_as(path)
    image = read_volume(path, "image")
    np.testing.assert_allclose(affine(written(image, tmp_path / "seg.dcm")), affine(image), atol=1e-9)


def test_an_image_of_a_kind_that_may_be_a_cine_has_a_segmentation(tmp_path: Path) -> None:
    x_ray_angiography = "1.2.840.10008.5.1.4.1.1.12.1"
    path = a_single_image(tmp_path / "a.dcm", voxels((6, 8), kind="uint8"), SOPClassUID=x_ray_angiography)
    image = read_volume(path, "image", "yx")
    read = written(image, tmp_path / "seg.dcm")
    assert (image.physical, read.physical) == (False, False)


def test_what_cannot_be_referred_to_is_said_before_labels_are_computed(tmp_path: Path) -> None:
    same = with_value("SOPInstanceUID", "1.2.3")
    image = read_volume(a_series(tmp_path / "scan", voxels(), change=same), "image")
    with pytest.raises(InputError, match=r"has the SOPInstanceUID of .*--format \.nii\.gz"):
        check_labels_of(image, tmp_path / "scan", ".dcm")
    check_labels_of(image, tmp_path / "scan", ".nii.gz")
