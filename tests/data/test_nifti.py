"""NIfTI: orientation, header fields, number of axes."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from volume_builders import rotation

from ldseg.data.formats import read_volume, write_volume
from ldseg.data.geometry import affine
from ldseg.data.volume import Axes, Volume
from ldseg.errors import InputError

ORIENTATIONS = [
    np.diag(signs) @ np.eye(3)[list(order)]
    for order in permutations(range(3))
    for signs in product((-1.0, 1.0), repeat=3)
]
GEOMETRY = ("pixdim", "xyzt_units", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "toffset")
QUATERNION = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")


def write_nifti(path: Path, array: np.ndarray, matrix: np.ndarray, **fields: object) -> Path:
    image = nib.Nifti1Image(array, matrix)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def assert_same_place(first: Path, second: Path) -> None:
    one, other = nib.load(first).header, nib.load(second).header
    for name in (*GEOMETRY, *QUATERNION):
        assert one[name].tobytes() == other[name].tobytes(), name


def labels_for(image: Volume) -> Volume:
    ids = np.random.default_rng(0).integers(0, 3, (1, *image.shape)).astype(np.uint8)
    return image.with_array(ids, "labels")


@pytest.mark.parametrize("number", range(48))
def test_each_orientation_is_lps_in_memory_and_unchanged_on_disk(number: int, tmp_path: Path) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = ORIENTATIONS[number] @ np.diag((0.7, 1.1, 3.0))
    matrix[:3, 3] = (-90.25, 126.5, -72.125)
    array = np.random.default_rng(number).normal(size=(3, 4, 5)).astype(np.float32)
    path = write_nifti(tmp_path / "a.nii.gz", array, matrix)
    read = read_volume(path, "image")
    index = np.array([2, 1, 3])  # i, j, k
    ras = nib.load(path).affine @ [*index, 1]
    lps = affine(read) @ [*index, 1]
    np.testing.assert_allclose(lps[:3], ras[:3] * (-1, -1, 1), atol=1e-5)
    assert read.array[0, 3, 1, 2] == array[2, 1, 3]
    write_volume(tmp_path / "b.nii.gz", labels_for(read))
    assert_same_place(path, tmp_path / "b.nii.gz")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    steps=st.tuples(*[st.floats(0.01, 50)] * 3),
    codes=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    units=st.sampled_from([0, 1, 2, 3, 10, 18]),
    big_endian=st.booleans(),
)
def test_oblique_geometry_is_bit_equal_in_what_is_written(
    tmp_path: Path,
    seed: int,
    steps: tuple[float, ...],
    codes: tuple[int, int],
    units: int,
    big_endian: bool,
) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(3, seed) * steps
    matrix[:3, 3] = np.random.default_rng(seed).normal(0, 200, 3)
    header = nib.Nifti1Header(endianness=">" if big_endian else "<")
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), matrix, header)
    image.header["sform_code"], image.header["qform_code"] = codes
    image.header["xyzt_units"] = units
    nib.save(image, tmp_path / "a.nii")
    read = read_volume(tmp_path / "a.nii", "image")
    labels = labels_for(read)
    write_volume(tmp_path / "b.nii", labels)
    assert_same_place(tmp_path / "a.nii", tmp_path / "b.nii")
    again = read_volume(tmp_path / "b.nii", "labels")
    assert (again.spacing, again.origin, again.direction) == (read.spacing, read.origin, read.direction)
    np.testing.assert_array_equal(again.array, labels.array)


def test_labels_do_not_inherit_scaling_type_or_display_window(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    image.header.set_slope_inter(0.5, -1000)
    image.header["cal_max"] = 400
    image.header["descrip"] = b"scanner"
    nib.save(image, tmp_path / "a.nii.gz")
    read = read_volume(tmp_path / "a.nii.gz", "image")
    write_volume(tmp_path / "b.nii.gz", labels_for(read))
    written = nib.load(tmp_path / "b.nii.gz")
    assert written.header.get_data_dtype() == np.uint8
    assert written.dataobj.slope == 1
    assert written.dataobj.inter == 0
    assert written.header["cal_max"] == 0
    assert written.header["descrip"] == b"scanner"


def test_intensities_are_scaled_as_the_header_says(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.array([[[0, 10]]], dtype=np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "a.nii")
    raw = nib.load(tmp_path / "a.nii")
    assert (
        read_volume(tmp_path / "a.nii", "image").array.ravel().tolist() == np.ravel(raw.get_fdata()).tolist()
    )


@pytest.mark.parametrize(
    "shape, axes, expected_axes, expected",
    [
        ((7, 5), None, "yx", (1, 5, 7)),
        ((7, 5, 1), None, "yx", (1, 5, 7)),
        ((7, 5, 1), "zyx", "zyx", (1, 1, 5, 7)),
        ((7, 5, 4), None, "zyx", (1, 4, 5, 7)),
        ((7, 5, 4), "tyx", "tyx", (1, 4, 5, 7)),
        ((7, 5, 1, 4), "tyx", "tyx", (1, 4, 5, 7)),
        ((7, 5, 1, 3), None, "yx", (3, 5, 7)),
        ((7, 5, 4, 2), None, "zyx", (2, 4, 5, 7)),
        ((7, 5, 4, 1, 2), None, "zyx", (2, 4, 5, 7)),
        ((7, 5, 1, 4, 2), "tyx", "tyx", (2, 4, 5, 7)),
        ((7, 5, 4, 1, 2), "tyx", "tyx", (2, 4, 5, 7)),
    ],
)
def test_axes_of_the_file_become_channels_slices_or_frames(
    shape: tuple[int, ...], axes: Axes | None, expected_axes: Axes, expected: tuple[int, ...], tmp_path: Path
) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    path = write_nifti(tmp_path / "a.nii.gz", array, np.diag((2.0, 3, 4, 1)))
    read = read_volume(path, "image", axes)
    assert read.axes == expected_axes
    assert read.array.shape == expected
    assert read.array[-1].ravel()[1] == array.reshape(7, 5, -1, expected[0])[1, 0, 0, -1]
    write_volume(tmp_path / "b.nii.gz", labels_for(read))
    assert_same_place(path, tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(
        read_volume(tmp_path / "b.nii.gz", "labels", expected_axes).array, labels_for(read).array
    )


@pytest.mark.parametrize(
    "shape, axes",
    [
        ((7, 5, 4), "yx"),
        ((7, 5, 4, 3), "tyx"),
        ((7, 5, 4, 3, 2), None),
        ((7, 5, 4, 1, 1, 2), None),
        ((7,), None),
    ],
)
def test_shapes_that_do_not_fit_the_axes_are_refused(
    shape: tuple[int, ...], axes: Axes | None, tmp_path: Path
) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", np.zeros(shape, np.float32), np.eye(4))
    with pytest.raises(InputError, match=r"a\.nii\.gz"):
        read_volume(path, "image", axes)


def test_frames_and_metres_come_in_seconds_and_millimetres(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((7, 5, 1, 4), np.float32), np.diag((0.002, 0.003, 1, 1)))
    image.header.set_xyzt_units("meter", "msec")
    image.header["pixdim"][4] = 40
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(
        read_volume(tmp_path / "a.nii.gz", "image", "tyx").spacing, (0.04, 3, 2), rtol=1e-6
    )


def test_nifti_2_stays_nifti_2(tmp_path: Path) -> None:
    matrix = np.diag((0.1, 0.2, 0.3, 1))
    nib.save(nib.Nifti2Image(np.zeros((3, 4, 5), np.float32), matrix), tmp_path / "a.nii.gz")
    read = read_volume(tmp_path / "a.nii.gz", "image")
    write_volume(tmp_path / "b.nii.gz", labels_for(read))
    assert isinstance(nib.load(tmp_path / "b.nii.gz"), nib.Nifti2Image)
    assert_same_place(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")


def test_colour_voxels_are_channels(tmp_path: Path) -> None:
    colours = np.zeros((2, 3, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = 7
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / "a.nii")
    read = read_volume(tmp_path / "a.nii", "image")
    assert read.array.shape == (3, 4, 3, 2)
    assert read.array.max(axis=(1, 2, 3)).tolist() == [0, 7, 0]


def test_a_singular_affine_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), np.eye(4))
    image.header["srow_x"] = 0
    image.header["srow_y"] = 0
    image.header["srow_z"] = 0
    image.header["sform_code"] = 1
    raw = nib.Nifti1Image(image.dataobj, None, image.header)
    nib.save(raw, tmp_path / "a.nii")
    with pytest.raises(InputError, match="singular"):
        read_volume(tmp_path / "a.nii", "image")


def test_multi_channel_masks_are_refused_with_a_remedy(tmp_path: Path) -> None:
    one_hot = np.random.default_rng(0).integers(0, 2, (3, 4, 5, 2)).astype(np.uint8)
    path = write_nifti(tmp_path / "a.nii.gz", one_hot, np.eye(4))
    with pytest.raises(InputError, match=r"2 different channels.*one-hot"):
        read_volume(path, "labels")
