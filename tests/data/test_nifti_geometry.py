"""NIfTI headers that mislead: no voxel size, two of them, other units, an empty or mirrored sform."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from test_nifti import assert_same_place, labels_for, rotation

from ldseg.data.formats import read_volume, write_volume
from ldseg.data.geometry import affine
from ldseg.errors import InputError

Change = Callable[[nib.Nifti1Header], None]
MATRIX = np.array([[-2.0, 0, 0, 30], [0, 3, 0, -20], [0, 0, 4, 10], [0, 0, 0, 1]])


def header_file(
    path: Path, change: Change, matrix: np.ndarray | None = MATRIX, shape: tuple[int, ...] = (3, 4, 5)
) -> Path:
    """A file of which `change` altered the header; nibabel writes it as it is."""
    image = nib.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), matrix)
    nib.save(image, path)
    content = path.read_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    change(header)
    path.write_bytes(header.binaryblock + content[348:])
    return path


def fields(**values: object) -> Change:
    def change(header: nib.Nifti1Header) -> None:
        for name, value in values.items():
            header[name] = value

    return change


def pixdim(*steps: float, **values: object) -> Change:
    def change(header: nib.Nifti1Header) -> None:
        fields(**values)(header)
        header["pixdim"][1 : len(steps) + 1] = steps

    return change


def assert_written_back(path: Path, tmp_path: Path) -> None:
    read = read_volume(path, "image")
    write_volume(tmp_path / "written.nii", labels_for(read))
    assert_same_place(path, tmp_path / "written.nii")


NO_CODES = {"sform_code": 0, "qform_code": 0}


@pytest.mark.parametrize("steps", [(1, 1, 0), (0, 1, 1), (1, np.nan, 1), (1, np.inf, 1)])
@pytest.mark.parametrize("codes", [NO_CODES, {"sform_code": 0, "qform_code": 1}])
def test_a_missing_voxel_size_is_refused(
    steps: tuple[float, ...], codes: dict[str, int], tmp_path: Path
) -> None:
    path = header_file(tmp_path / "a.nii", pixdim(*steps, **codes))
    with pytest.raises(
        InputError, match=r"a\.nii: has a voxel size of .* \(pixdim\); write its geometry again"
    ):
        read_volume(path, "image")


def test_without_any_size_lengths_are_in_voxels(tmp_path: Path) -> None:
    path = header_file(tmp_path / "a.nii", pixdim(0, 0, 0, **NO_CODES))
    read = read_volume(path, "image")
    assert (read.physical, read.spacing) == (False, (1.0, 1.0, 1.0))
    assert "lengths are in voxels" in read.notes[0]
    assert_written_back(path, tmp_path)


def test_a_size_without_codes_is_physical(tmp_path: Path) -> None:
    read = read_volume(header_file(tmp_path / "a.nii", pixdim(2, 3, 4, **NO_CODES)), "image")
    assert (read.physical, read.spacing, read.notes) == (True, (4.0, 3.0, 2.0), ())


def test_a_negative_size_counts_without_its_sign(tmp_path: Path) -> None:
    path = header_file(tmp_path / "a.nii", pixdim(-2, 3, 4, **NO_CODES))
    assert read_volume(path, "image").spacing == (4.0, 3.0, 2.0)
    assert_written_back(path, tmp_path)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1)])
@pytest.mark.parametrize("codes", [NO_CODES, {"sform_code": 2}, {"sform_code": 2, "srow_z": 0}])
def test_an_image_needs_no_third_size(shape: tuple[int, ...], codes: dict[str, int], tmp_path: Path) -> None:
    matrix = np.diag((2.0, 3.0, 4.0, 1.0))
    path = header_file(tmp_path / "a.nii", pixdim(2, 3, 0, **codes), matrix, shape)
    read = read_volume(path, "image")
    assert (read.axes, read.spacing, read.physical) == ("yx", (3.0, 2.0), True)
    assert_written_back(path, tmp_path)


def test_an_empty_sform_gives_way_to_the_qform(tmp_path: Path) -> None:
    path = header_file(tmp_path / "a.nii", fields(sform_code=1, srow_x=0, srow_y=0, srow_z=0, qform_code=1))
    read = read_volume(path, "image")
    np.testing.assert_allclose(affine(read), np.diag((-1, -1, 1, 1)) @ MATRIX)
    assert read.notes == ("has an sform that is empty; its qform is taken",)
    assert_written_back(path, tmp_path)


def test_an_sform_of_unit_vectors_against_another_pixdim_is_refused(tmp_path: Path) -> None:
    unit = header_file(tmp_path / "a.nii", pixdim(0.5, 0.5, 3), np.diag((1.0, 1.0, 1.0, 1.0)))
    with pytest.raises(
        InputError, match=r"an sform with voxels of 1 x 1 x 1 and a pixdim of 0\.5 x 0\.5 x 3"
    ):
        read_volume(unit, "image")
    other = header_file(tmp_path / "b.nii", pixdim(1, 1, 1))
    with pytest.raises(InputError, match="contradict each other"):
        read_volume(other, "image")
    near = header_file(tmp_path / "c.nii", pixdim(2.001, 3, 4))
    assert read_volume(near, "image").spacing == (4.0, 3.0, 2.0)


def with_qform(matrix: np.ndarray) -> Change:
    def change(header: nib.Nifti1Header) -> None:
        header.set_qform(matrix, 1)

    return change


def test_a_qform_elsewhere_is_said_and_a_mirrored_one_refused(tmp_path: Path) -> None:
    moved = MATRIX.copy()
    moved[0, 3] += 5
    read = read_volume(header_file(tmp_path / "a.nii", with_qform(moved)), "image")
    assert read.notes == ("has an sform and a qform that lie up to 2.5 voxels apart; the sform is taken",)
    mirrored = MATRIX @ np.diag((-1.0, 1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="of which one is mirrored"):
        read_volume(header_file(tmp_path / "b.nii", with_qform(mirrored)), "image")
    assert read_volume(header_file(tmp_path / "c.nii", with_qform(MATRIX)), "image").notes == ()


@pytest.mark.parametrize("unit, factor", [("micron", 1e-3), ("meter", 1e3), ("mm", 1.0)])
def test_units_are_applied_and_said_and_written_back(unit: str, factor: float, tmp_path: Path) -> None:
    path = header_file(tmp_path / "a.nii", lambda header: header.set_xyzt_units(unit, "sec"))
    read = read_volume(path, "image")
    np.testing.assert_allclose(read.spacing, np.array((4, 3, 2)) * factor)
    np.testing.assert_allclose(np.abs(read.origin), np.array((30, 20, 10)) * factor)
    assert any(unit in note for note in read.notes) == (unit != "mm")
    assert_written_back(path, tmp_path)


def test_a_sheared_affine_is_refused(tmp_path: Path) -> None:
    sheared = MATRIX.copy()
    sheared[0, 2] = 0.4  # the slices slide
    steps = np.linalg.norm(sheared[:3, :3], axis=0)
    with pytest.raises(InputError, match="not at right angles"):
        read_volume(header_file(tmp_path / "a.nii", pixdim(*steps), sheared), "image")


@pytest.mark.parametrize("row", ["srow_x", "srow_y", "srow_z"])
def test_an_affine_with_nan_is_refused(row: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="singular or not finite"):
        read_volume(header_file(tmp_path / "a.nii", fields(**{row: np.nan})), "image")


@pytest.mark.parametrize("frame, unit, seconds", [(40, "msec", 0.04), (40, "usec", 4e-5), (0, "sec", 1.0)])
def test_frames_without_a_time_are_counted(frame: float, unit: str, seconds: float, tmp_path: Path) -> None:
    def change(header: nib.Nifti1Header) -> None:
        header.set_xyzt_units("mm", unit)
        header["pixdim"][4] = frame

    path = header_file(tmp_path / "a.nii", change, np.diag((2.0, 3.0, 4.0, 1.0)), (4, 3, 1, 5))
    cine = read_volume(path, "image", "tyx")
    assert cine.spacing[0] == pytest.approx(seconds)
    assert bool(cine.notes) == (frame == 0)


def test_an_oblique_header_of_every_kind_is_read_without_remarks(tmp_path: Path) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(3, 4) * (0.7, 0.9, 2.5)
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), matrix)
    image.header.set_qform(matrix, 1)
    image.header.set_sform(matrix, 1)
    nib.save(image, tmp_path / "a.nii.gz")
    assert read_volume(tmp_path / "a.nii.gz", "image").notes == ()
