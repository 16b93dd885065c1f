"""Studies as archives send them: what lies beside the images is skipped and said; files have any name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="the extra dicom is not installed")

import pydicom
from dicom_builders import AXIAL, CT, a_cine, a_dataset, a_series, a_single_image, put_pixels, save
from test_dicom import voxels

from ldseg.data.formats import read_volume
from ldseg.data.inputs import find_inputs
from ldseg.errors import InputError

PLANES = (AXIAL, (1.0, 0, 0, 0, 0, -1.0), (0, 1.0, 0, 0, 0, -1.0))
STRUCTURES, DOSE, REPORT = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("481.3", "481.2", "88.22"))


def found(*paths: Path, axes: Any = "zyx") -> tuple[list[str], list[str]]:
    """Names of the images and the lines of what was skipped."""
    lines: list[str] = []
    cases = find_inputs(list(paths), 1, axes, on_remark=lines.append)
    return [case.name for case in cases], lines


def a_localizer(folder: Path, per_plane: int = 1, **values: Any) -> Path:
    """Slices in three planes."""

    def change(dataset: Any, number: int) -> None:
        dataset.ImageOrientationPatient = list(PLANES[number // per_plane])
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    given = {"series": "localizer", "name": lambda number: f"LOC{number}"}
    return a_series(folder, voxels((3 * per_plane, 8, 8)), change=change, **given)


def other_objects(folder: Path) -> None:
    """A report, a structure set, a dose and a document."""
    for sop_class in (STRUCTURES, REPORT, "1.2.840.10008.5.1.4.1.1.104.1"):
        save(a_dataset(sop_class, "others", sop_class), folder / f"{sop_class}.dcm")
    dose = a_dataset(DOSE, "others", "dose")
    put_pixels(dose, voxels((3, 4, 4), kind="uint16"))
    dose.NumberOfFrames = 3
    save(dose, folder / "dose.dcm")


@pytest.mark.parametrize("mixed", [True, False])
def test_a_study_is_its_volume_alone(mixed: bool, tmp_path: Path) -> None:
    study = tmp_path / "study"

    def folder(name: str) -> Path:
        return study if mixed else study / name

    a_series(folder("volume"), voxels())
    a_localizer(folder("localizer"))
    a_single_image(folder("screens") / "screen.dcm", voxels((6, 8), kind="uint8"))
    other_objects(folder("others"))
    names, lines = found(study)
    assert names == ["study" if mixed else "volume"]
    said = "\n".join(lines)
    for what in (
        "3 files, localizer (slices in several planes)",
        "screenshot",
        "RT Structure Set",
        "RT Dose",
        "SR",
    ):
        assert what in said
    (case,) = find_inputs([study], 1, "zyx")
    np.testing.assert_array_equal(read_volume(case.images[0], "image", "zyx").array[0], voxels())


def test_a_folder_that_is_one_image_says_what_it_passes_over(tmp_path: Path) -> None:
    study = a_series(tmp_path / "study", voxels())
    a_localizer(study)
    other_objects(study)
    notes = "\n".join(read_volume(study, "image", "zyx").notes)
    assert "skipped: 3 files, localizer (slices in several planes)" in notes
    assert "RT Dose" in notes


def test_two_series_of_one_study_have_names_of_their_own(tmp_path: Path) -> None:
    a_series(tmp_path / "study", voxels(), name=lambda n: f"a{n}")
    a_series(tmp_path / "study", voxels(seed=1), series="second", name=lambda n: f"b{n}")
    a_localizer(tmp_path / "study")
    names, lines = found(tmp_path / "study")
    assert len(names) == len(set(names)) == 2
    assert len(lines) == 1


@pytest.mark.parametrize("per_plane", [1, 2, 5])
def test_a_localizer_alone_is_refused(per_plane: int, tmp_path: Path) -> None:
    folder = a_localizer(tmp_path / "loc", per_plane)
    (case,) = find_inputs([tmp_path], 1, "zyx")
    with pytest.raises(InputError, match=r"is a localizer \(slices in several planes\); name the series"):
        read_volume(case.images[0], "image", "zyx")
    flagged = a_series(
        tmp_path / "scout",
        voxels(),
        change=lambda d, _: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    )
    with pytest.raises(InputError, match="ImageType LOCALIZER"):
        read_volume(flagged, "image", "zyx")
    with pytest.raises(InputError, match="is a localizer"):
        read_volume(folder / "LOC1", "image", "zyx")


def test_two_volumes_of_one_series_are_read_where_each_has_its_folder(tmp_path: Path) -> None:
    sagittal = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    for names in (("both", "both"), ("axial", "sagittal")):
        a_series(tmp_path / names[0], voxels(), name=lambda n: f"A{n}")
        a_series(tmp_path / names[1], voxels(), orientation=sagittal, name=lambda n: f"S{n}")
    with pytest.raises(InputError, match="move the slices of each plane into a folder of their own"):
        read_volume(tmp_path / "both", "image", "zyx")
    for name in ("axial", "sagittal"):
        assert read_volume(tmp_path / name, "image", "zyx").shape == voxels().shape


def test_a_series_in_two_folders_is_said_to_be_two_images(tmp_path: Path) -> None:
    for name, part in (("a", slice(0, 2)), ("b", slice(2, None))):
        a_series(tmp_path / "whole" / name, voxels()[part])
    a_series(tmp_path / "other", voxels(), series="another")
    remarks: list[str] = []
    cases = find_inputs([tmp_path], 1, "zyx", on_remark=remarks.append)
    assert [case.name for case in cases] == ["other", "whole_a", "whole_b"]
    (remark,) = remarks
    assert "whole/a" in remark
    assert "whole/b hold files of one series" in remark


def test_a_localizer_within_a_series_is_left_out_of_it(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan", voxels())
    a_localizer(folder, SeriesInstanceUID=pydicom.dcmread(folder / "IM001.dcm").SeriesInstanceUID)
    (folder / "LOC3").unlink()  # the one in the plane of the volume
    read = read_volume(folder, "image", "zyx")
    np.testing.assert_array_equal(read.array[0], voxels())
    assert "slices of a localizer in the same series are left out (LOC1, LOC2)" in read.notes[0]
    with pytest.raises(InputError, match="LOC1: is a localizer within its series"):
        read_volume(folder / "LOC1", "image", "zyx")


def test_files_given_one_by_one_may_include_a_report(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan", voxels())
    other_objects(folder)
    names, lines = found(*sorted(folder.iterdir()))
    assert (names, len(lines)) == (["scan"], 4)
    with pytest.raises(InputError, match=r"dose.dcm: is no image but DICOM of the kind RT Dose"):
        read_volume(folder / "dose.dcm", "image", "zyx")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    other_objects(tmp_path)
    with pytest.raises(InputError, match=r"holds DICOM but no image, only .*RT Structure Set"):
        find_inputs([tmp_path], 1, "zyx")


def test_secondary_captures_are_images_where_there_is_nothing_else(tmp_path: Path) -> None:
    a_single_image(tmp_path / "a.dcm", voxels((6, 8), kind="uint8"))
    assert found(tmp_path, axes="yx") == (["a"], [])
    a_series(tmp_path, voxels((1, 6, 8)), sop_class=CT, name=lambda _: "ct.dcm")
    names, lines = found(tmp_path, axes="yx")
    assert names == ["ct"]
    assert "1 file, secondary capture" in lines[0]


def test_a_clip_is_no_volume_beside_one(tmp_path: Path) -> None:
    a_series(tmp_path / "scan", voxels())
    a_cine(tmp_path / "clip" / "clip.dcm", voxels((4, 6, 8), kind="uint8"))
    assert found(tmp_path)[0] == ["scan"]


def bare(path: Path, syntax: str) -> None:
    """Write the file's data set again without preamble and meta information."""
    dataset = pydicom.dcmread(path)
    dataset.PixelData = (
        dataset.PixelData
        if syntax != "big"
        else np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
    )
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    path.unlink()
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax != "big", syntax == "implicit"
    pydicom.filewriter.write_dataset(buffer, dataset)
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big"])
@pytest.mark.filterwarnings("ignore")
def test_files_without_preamble_are_read(syntax: str, tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan", voxels(), name=lambda number: f"IM{number:06d}")
    for path in list(folder.iterdir()):
        bare(path, syntax)
    assert found(tmp_path)[0] == ["scan"]
    np.testing.assert_array_equal(read_volume(folder, "image", "zyx").array[0], voxels())


@pytest.mark.parametrize("form", ["IM{}", "{}.IMA", "{}.img", "{}.bak", "scan.{}.final", "{}.MR"])
def test_files_are_found_by_their_content(form: str, tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan", voxels(), name=form.format)
    for name in ("notes.txt", "data.bin", "thumb.db"):
        (folder / name).write_bytes(b"\x08\x00 anything else " * 20)
    assert found(tmp_path)[0] == ["scan"]
    assert read_volume(folder, "image", "zyx").shape == (5, 6, 8)
    assert read_volume(min(folder.glob(form.format("*"))), "image", "zyx").shape == (5, 6, 8)


def test_a_linked_folder_is_looked_into_once(tmp_path: Path) -> None:
    a_series(tmp_path / "store" / "scan", voxels())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "back").symlink_to(tmp_path / "in")
    assert found(tmp_path / "in")[0] == ["link_scan"]


def test_files_in_between_are_counted(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan", voxels(), name=lambda number: f"IM{number}")
    (folder / "preview.jpg").write_bytes(b"anything")
    (folder / "IM6").write_bytes(b"")
    (folder / "DICOMDIR").write_bytes(b"anything")
    assert "2 files, no DICOM" in found(tmp_path)[1][0]
    assert "1 file, no DICOM" in found(folder)[1][0]


def test_a_colour_map_is_no_volume_beside_one(tmp_path: Path) -> None:
    a_series(tmp_path / "scan", voxels())

    def colour(dataset: Any, number: int) -> None:
        put_pixels(dataset, voxels((6, 8, 3), number, "uint8"), "RGB")

    a_series(tmp_path / "map", voxels(), series="map", change=colour)
    names, lines = found(tmp_path)
    assert names == ["scan"]
    assert "5 files, volume in colours" in lines[0]


def test_numbers_that_begin_like_dicom_are_none(tmp_path: Path) -> None:
    from ldseg.data.formats import is_volume

    rng = np.random.default_rng(0)
    for seed in range(200):
        numbers = rng.integers(0, 40, 600).astype("<i2")
        numbers[0] = (2, 8)[seed % 2]
        numbers[3] = 0
        (tmp_path / "data.raw").write_bytes(numbers.tobytes())
        assert not is_volume(tmp_path / "data.raw")
