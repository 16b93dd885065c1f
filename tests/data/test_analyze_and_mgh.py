"""FreeSurfer's MGZ, Analyze and NIfTI pairs: voxels, geometry, damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from test_nifti import ORIENTATIONS, labels_for

from ldseg.data.cases import DataOptions
from ldseg.data.dataset import load_case, open_dataset
from ldseg.data.formats import output_ending, read_volume, stem, write_volume
from ldseg.data.geometry import affine
from ldseg.errors import InputError

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
MATRIX = np.array([[-2.0, 0, 0, 30], [0, 0, 3, -20], [0, -4, 0, 10], [0, 0, 0, 1]])


def mgh(path: Path, voxels: np.ndarray = VOXELS, matrix: np.ndarray = MATRIX) -> Path:
    nib.save(nib.MGHImage(voxels, matrix), path)
    return path


def pair(path: Path, voxels: np.ndarray = VOXELS, matrix: np.ndarray = MATRIX) -> Path:
    nib.save(nib.Nifti1Pair(voxels, matrix), path)
    return path


@pytest.mark.parametrize("name", ["a.mgz", "a.mgh"])
@pytest.mark.parametrize("number", range(0, 48, 7))
def test_mgh_lies_where_nibabel_says_and_is_written_bit_for_bit(
    name: str, number: int, tmp_path: Path
) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = ORIENTATIONS[number] @ np.diag((0.7, 1.1, 3.0))
    matrix[:3, 3] = (-90.25, 126.5, -72.125)
    path = mgh(tmp_path / name, matrix=matrix)
    read = read_volume(path, "image")
    np.testing.assert_array_equal(read.array[0], VOXELS.T)
    np.testing.assert_allclose(affine(read), np.diag((-1, -1, 1, 1)) @ nib.load(path).affine, atol=1e-4)
    assert (read.physical, read.notes, output_ending(path)) == (True, (), path.suffix)
    labels = labels_for(read)
    write_volume(tmp_path / f"b{path.suffix}", labels)
    first, second = nib.load(path).header, nib.load(tmp_path / f"b{path.suffix}").header
    for field in ("delta", "Mdc", "Pxyz_c", "goodRASFlag"):
        assert first[field].tobytes() == second[field].tobytes()
    again = read_volume(tmp_path / f"b{path.suffix}", "labels")
    np.testing.assert_array_equal(again.array, labels.array)
    assert (again.spacing, again.origin, again.direction) == (read.spacing, read.origin, read.direction)


def test_mgh_without_known_geometry_is_not_physical(tmp_path: Path) -> None:
    path = mgh(tmp_path / "a.mgh")
    content = bytearray(path.read_bytes())
    content[28:30] = b"\0\0"
    path.write_bytes(content)
    read = read_volume(path, "image")
    assert (read.physical, read.spacing) == (False, (1.0, 1.0, 1.0))
    assert "lengths are in voxels" in read.notes[0]


def test_frames_of_mgh_are_cines_or_channels(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).normal(size=(3, 4, 1, 5)).astype(np.float32)
    path = mgh(tmp_path / "a.mgz", voxels, np.diag((2.0, 3.0, 4.0, 1.0)))
    cine = read_volume(path, "image", "tyx")
    np.testing.assert_array_equal(cine.array[0], voxels[:, :, 0].T)
    write_volume(tmp_path / "b.mgz", labels_for(cine))
    np.testing.assert_array_equal(
        read_volume(tmp_path / "b.mgz", "labels", "tyx").array, labels_for(cine).array
    )
    assert read_volume(path, "image").array.shape == (5, 4, 3)


@pytest.mark.parametrize("name", ["a.mgz", "a.mgh"])
def test_damaged_mgh_is_one_line(name: str, tmp_path: Path) -> None:
    path = mgh(tmp_path / name)
    whole = path.read_bytes()
    for content in (
        whole[:20],
        whole[: len(whole) // 2],
        b"\0" * 400,
        gzip.compress(b"\0\0\0\1" + b"\xff" * 400),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.mg[zh]: cannot be read as MGH") as error:
            read_volume(path, "image")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("make", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_a_nifti_pair_is_read_as_one_file_would_be(make: type, tmp_path: Path) -> None:
    nib.save(make(VOXELS, MATRIX), tmp_path / "a.hdr")
    one = nib.Nifti2Image if make is nib.Nifti2Pair else nib.Nifti1Image
    nib.save(one(VOXELS, MATRIX), tmp_path / "b.nii.gz")
    read, expected = read_volume(tmp_path / "a.hdr", "image"), read_volume(tmp_path / "b.nii.gz", "image")
    np.testing.assert_array_equal(read.array, expected.array)
    np.testing.assert_array_equal(affine(read), affine(expected))
    assert output_ending(tmp_path / "a.hdr") == ".nii.gz"
    write_volume(tmp_path / "c.nii.gz", labels_for(read))
    np.testing.assert_array_equal(
        nib.load(tmp_path / "c.nii.gz").affine, nib.load(tmp_path / "b.nii.gz").affine
    )
    assert isinstance(nib.load(tmp_path / "c.nii.gz"), one)


def test_scaled_voxels_of_a_pair_are_scaled(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VOXELS * 0.37 - 5, MATRIX, dtype=np.int16), tmp_path / "a.hdr")
    read = read_volume(tmp_path / "a.hdr", "image")
    np.testing.assert_allclose(read.array[0], (VOXELS * 0.37 - 5).T, atol=0.01)


def test_analyze_is_taken_for_radiological_and_says_so(tmp_path: Path) -> None:
    image = nib.AnalyzeImage(VOXELS, np.diag((-2.0, 3.0, 4.0, 1.0)))
    nib.save(image, tmp_path / "a.hdr")
    read = read_volume(tmp_path / "a.hdr", "image")
    np.testing.assert_array_equal(read.array[0], VOXELS.T)
    assert read.spacing == (4.0, 3.0, 2.0)
    assert "does not say where left is" in read.notes[-1]
    lps = np.diag((-1, -1, 1, 1)) @ nib.load(tmp_path / "a.hdr").affine
    np.testing.assert_allclose(affine(read), lps)
    (tmp_path / "a.mat").write_bytes(b"x")
    with pytest.raises(InputError, match=r"orientation in a\.mat"):
        read_volume(tmp_path / "a.hdr", "image")


def test_analyze_without_sizes_is_not_physical(tmp_path: Path) -> None:
    nib.save(nib.AnalyzeImage(VOXELS, np.eye(4)), tmp_path / "a.hdr")
    content = bytearray((tmp_path / "a.hdr").read_bytes())
    content[80:92] = bytes(12)
    (tmp_path / "a.hdr").write_bytes(content)
    assert not read_volume(tmp_path / "a.hdr", "image").physical


def test_half_a_pair_is_named(tmp_path: Path) -> None:
    pair(tmp_path / "a.hdr")
    content = (tmp_path / "a.img").read_bytes()
    (tmp_path / "a.img").write_bytes(content[:50])
    with pytest.raises(InputError, match="50 of 120 bytes of voxels"):
        read_volume(tmp_path / "a.hdr", "image")
    (tmp_path / "a.img").unlink()
    with pytest.raises(InputError, match=r"its data file a\.img is missing"):
        read_volume(tmp_path / "a.hdr", "image")
    (tmp_path / "a.img.gz").write_bytes(gzip.compress(content))
    assert read_volume(tmp_path / "a.hdr", "image").shape == (5, 4, 3)
    (tmp_path / "a.hdr").write_bytes(b"ENVI\nsamples = 3\n" * 40)
    with pytest.raises(InputError, match="cannot be read as Analyze or NIfTI"):
        read_volume(tmp_path / "a.hdr", "image")
    with pytest.raises(InputError, match=r"write \.nii\.gz"):
        write_volume(tmp_path / "b.hdr", read_volume(mgh(tmp_path / "b.mgz"), "labels"))


def test_a_set_of_pairs_and_mgz_has_all_its_cases(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for n in range(2):
        pair(tmp_path / f"images/p{n}.hdr")
        pair(tmp_path / f"labels/p{n}.hdr", (VOXELS > 30).astype(np.uint8))
        mgh(tmp_path / f"images/m{n}.mgz")
        mgh(tmp_path / f"labels/m{n}.mgz", (VOXELS > 30).astype(np.uint8))
    dataset = open_dataset(tmp_path, DataOptions())
    assert [case.name for case in dataset.cases] == ["m0", "m1", "p0", "p1"]
    assert not dataset.remarks
    assert stem(tmp_path / "images/p0.hdr") == "p0"
    for case in dataset.cases:
        np.testing.assert_array_equal(load_case(dataset, case)[1][0].array[0], (VOXELS > 30).T)
