"""NRRD and MetaImage that do not say how large a voxel is, or in another unit, or with crooked axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ldseg.data.formats import read_volume, write_volume
from ldseg.errors import InputError

NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 5 6\nencoding: raw\n"
MHA = "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_UCHAR\n"
DIRECTIONS = (
    "space: left-posterior-superior\nspace directions: (2,0,0) (0,2,0) (0,0,2)\nspace origin: (1,2,3)\n"
)


def written(path: Path, lines: str) -> Path:
    end = "\n" if path.suffix == ".nrrd" else "ElementDataFile = LOCAL\n"
    start = NRRD if path.suffix == ".nrrd" else MHA
    path.write_bytes((start + lines + end).encode() + bytes(range(120)))
    return path


@pytest.mark.parametrize(
    "name, lines, physical",
    [
        ("a.nrrd", "", False),
        ("a.nrrd", "spacings: nan nan nan\n", False),
        ("a.nrrd", "spacings: 1 1 1\n", True),
        ("a.nrrd", DIRECTIONS, True),
        ("a.nrrd", DIRECTIONS + 'space units: "mm" "mm" "mm"\n', True),
        ("a.mha", "", False),
        ("a.mha", "ElementSpacing = 1 1 1\n", True),
        ("a.mha", "ElementSize = 1 1 1\n", True),
    ],
)
def test_a_header_without_spacing_is_not_physical(
    name: str, lines: str, physical: bool, tmp_path: Path
) -> None:
    read = read_volume(written(tmp_path / name, lines), "image")
    assert read.physical == physical
    assert physical or read.spacing == (1.0, 1.0, 1.0)
    again = tmp_path / f"again{Path(name).suffix}"
    write_volume(again, read.with_array(read.array.astype(np.uint8), "labels"))
    back = read_volume(again, "labels")
    assert (back.spacing, back.origin, back.direction) == (read.spacing, read.origin, read.direction)


@pytest.mark.parametrize(
    "name, lines, unit",
    [
        ("a.nrrd", DIRECTIONS + 'space units: "um" "um" "um"\n', "um"),
        ("a.nrrd", DIRECTIONS + 'space units: "µm" "µm" "µm"\n', "µm"),
        ("a.nrrd", 'spacings: 1 1 1\nunits: "cm" "cm" "cm"\n', "cm"),
        ("a.nrrd", DIRECTIONS + 'space units: "meters" "meters" "meters"\n', "meters"),
        ("a.mha", "ElementSpacing = 1 1 1\nDistanceUnits = um\n", "um"),
    ],
)
def test_other_units_than_mm_are_refused(name: str, lines: str, unit: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"lengths are in {unit} and not in mm; write its geometry in mm"):
        read_volume(written(tmp_path / name, lines), "image")


@pytest.mark.parametrize(
    "name, lines",
    [
        ("a.nrrd", DIRECTIONS.replace("(0,0,2)", "(0,0.5,2)")),
        ("a.mha", "TransformMatrix = 1 0 0 0 1 0 0 0.3 1\nElementSpacing = 1 1 1\n"),
        ("a.mha", "TransformMatrix = 1 0 0 0 1 0 0 0 2\nElementSpacing = 1 1 1\n"),
    ],
)
def test_crooked_axes_are_refused(name: str, lines: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not at right angles|no unit vectors"):
        read_volume(written(tmp_path / name, lines), "image")
