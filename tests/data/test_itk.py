"""MetaImage and NRRD: geometry to the last bit, vectors, frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from volume_builders import rotation

from ldseg.data.formats import read_volume, write_volume
from ldseg.errors import InputError


def write_itk(path: Path, array: np.ndarray, seed: int = 0, vector: bool = False) -> Path:
    image = sitk.GetImageFromArray(array, isVector=vector)
    size = image.GetDimension()
    rng = np.random.default_rng(seed)
    image.SetSpacing(rng.uniform(0.1, 5, size).tolist())
    image.SetOrigin(rng.normal(0, 100, size).tolist())
    image.SetDirection(rotation(size, seed).ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def place(path: Path) -> tuple[tuple[float, ...], ...]:
    image = sitk.ReadImage(str(path))
    return image.GetSpacing(), image.GetOrigin(), image.GetDirection()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), dimensions=st.sampled_from([2, 3]))
@pytest.mark.parametrize("kind", [".mha", ".mhd", ".nrrd"])
def test_written_labels_lie_where_the_image_lies_bit_for_bit(
    tmp_path: Path, kind: str, seed: int, dimensions: int
) -> None:
    path = write_itk(tmp_path / f"a{kind}", np.zeros((4, 5, 6)[:dimensions], np.int16), seed)
    read = read_volume(path, "image")
    write_volume(tmp_path / f"b{kind}", read.with_array(np.ones((1, *read.shape), np.uint8), "labels"))
    assert place(tmp_path / f"b{kind}") == place(path)
    assert (read.spacing[::-1], read.origin, read.direction) == place(path)


@pytest.mark.parametrize("kind", [".mha", ".nrrd"])
def test_vectors_are_channels_and_labels_keep_their_place(kind: str, tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(4, 5, 6, 2)).astype(np.float32)
    path = write_itk(tmp_path / f"a{kind}", array, seed=3, vector=True)
    read = read_volume(path, "image")
    np.testing.assert_array_equal(read.array, np.moveaxis(array, -1, 0))
    write_volume(tmp_path / f"b{kind}", read.with_array(np.ones((1, 4, 5, 6), np.uint8), "labels"))
    write_volume(tmp_path / f"c{kind}", read)
    assert place(tmp_path / f"b{kind}") == place(path) == place(tmp_path / f"c{kind}")


def test_a_nrrd_in_another_space_is_read_as_lps_and_written_back_as_it_was(tmp_path: Path) -> None:
    path = write_itk(tmp_path / "a.nrrd", np.zeros((4, 5, 6), np.int16), seed=5)
    text = path.read_bytes().replace(b"space: left-posterior-superior", b"space: right-anterior-superior")
    path.write_bytes(text)
    read = read_volume(path, "image")
    write_volume(tmp_path / "b.nrrd", read.with_array(np.ones((1, 4, 5, 6), np.uint8), "labels"))
    assert place(tmp_path / "b.nrrd") == place(path)
    assert b"space: right-anterior-superior" in (tmp_path / "b.nrrd").read_bytes()


def test_a_slice_with_its_third_axis_stays_one(tmp_path: Path) -> None:
    path = write_itk(tmp_path / "a.mha", np.zeros((1, 5, 6), np.int16), seed=2)
    read = read_volume(path, "image")
    assert read.axes == "yx"
    write_volume(tmp_path / "b.mha", read.with_array(np.ones((1, 5, 6), np.uint8), "labels"))
    assert place(tmp_path / "b.mha") == place(path)


def test_four_axes_are_frames_when_asked_and_channels_otherwise(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(3, 1, 5, 6)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(tmp_path / "a.mha"))
    cine = read_volume(tmp_path / "a.mha", "image", "tyx")
    np.testing.assert_array_equal(cine.array, array.transpose(1, 0, 2, 3))
    assert read_volume(tmp_path / "a.mha", "image").array.shape == (3, 5, 6)


def test_a_header_without_its_data_file_is_named(tmp_path: Path) -> None:
    write_itk(tmp_path / "a.mhd", np.zeros((4, 5, 6), np.int16))
    (tmp_path / "a.raw").unlink()
    with pytest.raises(InputError, match=r"a\.mhd.*a\.raw is missing"):
        read_volume(tmp_path / "a.mhd", "image")


def test_a_short_data_file_is_noticed(tmp_path: Path) -> None:
    write_itk(tmp_path / "a.mhd", np.zeros((4, 5, 6), np.int16))
    (tmp_path / "a.raw").write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match="100 of 240 bytes"):
        read_volume(tmp_path / "a.mhd", "image")


def test_a_header_file_finds_its_data_under_its_final_name(tmp_path: Path) -> None:
    path = write_itk(tmp_path / "a.mha", np.arange(120, dtype=np.int16).reshape(4, 5, 6))
    write_volume(tmp_path / "b.mhd", read_volume(path, "labels"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.mha", "b.mhd", "b.zraw"]
    np.testing.assert_array_equal(
        read_volume(tmp_path / "b.mhd", "labels").array, read_volume(path, "labels").array
    )


SLICER = """NRRD0005
# Complete NRRD file format specification at:
# http://teem.sourceforge.net/nrrd/format.html
type: short
dimension: 3
space: left-posterior-superior
sizes: 4 5 6
space directions: (0.5,0,0) (0,0.5,0) (0,0,2)
kinds: domain domain domain
endian: little
encoding: raw
space units: "mm" "mm" "mm"
space origin: (-10,-20,30.5)
measurement frame: (1,0,0) (0,1,0) (0,0,1)
Segment0_Name:=liver: left: lobe
DWMRI_b-value:=1000

"""
PLASTIMATCH = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = -10 -20 30.5
CenterOfRotation = 0 0 0
AnatomicalOrientation = RAI
ElementSpacing = 0.5 0.5 2
ITK_InputFilterName = MetaImageIO
DimSize = 4 5 6
ElementNumberOfChannels = 1
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""


@pytest.mark.parametrize("name, header", [("a.nrrd", SLICER), ("a.mha", PLASTIMATCH)])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_headers_of_other_programs_are_read(name: str, header: str, end: str, tmp_path: Path) -> None:
    if (name, end) == ("a.mha", "\r\n"):
        pytest.skip("MetaImage ends its lines with a line feed")
    voxels = np.arange(120, dtype="<i2")
    (tmp_path / name).write_bytes(header.replace("\n", end).encode() + voxels.tobytes())
    read = read_volume(tmp_path / name, "image")
    np.testing.assert_array_equal(read.array, voxels.reshape(1, 6, 5, 4))
    assert (read.spacing, read.origin) == ((2.0, 0.5, 0.5), (-10.0, -20.0, 30.5))
