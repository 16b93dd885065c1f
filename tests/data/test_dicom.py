"""DICOM images: from files in any order to voxels in their place, or a line that says why not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("pydicom", reason="the extra dicom is not installed")

from dicom_builders import MR, a_cine, a_series, a_single_image, enhanced

from ldseg.data.formats import ending, is_volume, read_volume, stem
from ldseg.data.geometry import affine
from ldseg.data.inputs import find_inputs
from ldseg.errors import InputError

OBLIQUE = (0.96, 0.0, -0.28, 0.0, -1.0, 0.0)
SHAPE = (5, 6, 8)


def voxels(shape: tuple[int, ...] = SHAPE, seed: int = 0, kind: str = "int16") -> np.ndarray:
    """Random numbers."""
    return np.random.default_rng(seed).integers(0, 200, shape).astype(kind)


def refusal(path: Path, axes: Any = "zyx") -> str:
    """The line that says why `path` cannot be read."""
    with pytest.raises(InputError) as error:
        read_volume(path, "image", axes)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("orientation", [(1.0, 0, 0, 0, 1.0, 0), OBLIQUE, (0, 1.0, 0, 0, 0, -1.0)])
def test_a_series_lies_where_itk_puts_it(orientation: tuple[float, ...], tmp_path: Path) -> None:
    given = voxels()
    folder = a_series(tmp_path / "scan", given, orientation=orientation)
    read = read_volume(folder, "image")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    assert (read.axes, read.stored) == ("zyx", "int16")
    np.testing.assert_array_equal(read.array[0], given)
    np.testing.assert_array_equal(read.array[0], sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(read.spacing[::-1], image.GetSpacing())
    np.testing.assert_allclose(read.origin, image.GetOrigin())
    np.testing.assert_allclose(read.direction, image.GetDirection(), atol=1e-7)


def test_slope_and_intercept_are_those_of_each_slice(tmp_path: Path) -> None:
    def scale(dataset: Any, number: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = number + 0.5, -1000

    read = read_volume(a_series(tmp_path / "pet", voxels(), change=scale), "image")
    slopes = (np.arange(5) + 0.5)[:, None, None]
    np.testing.assert_array_equal(read.array[0], voxels() * slopes - 1000)


def test_an_enhanced_object_is_the_series_that_it_holds(tmp_path: Path) -> None:
    given = voxels()
    series = read_volume(a_series(tmp_path / "scan", given, orientation=OBLIQUE), "image")
    path = enhanced(
        tmp_path / "one.dcm", given, [3, 0, 4, 1, 2], orientation=OBLIQUE, scale=lambda n: (1.0 + n, -n)
    )
    read = read_volume(path, "image")
    numbers = np.arange(5)[:, None, None]
    np.testing.assert_array_equal(read.array[0], given * (1.0 + numbers) - numbers)
    np.testing.assert_allclose(affine(read), affine(series), atol=1e-12)


def test_a_cine_is_sorted_by_trigger_time(tmp_path: Path) -> None:
    def frame(dataset: Any, number: int) -> None:
        dataset.ImagePositionPatient = [1.0, 2.0, 3.0]
        dataset.TriggerTime = 40.0 * (number * 2 % 5)

    read = read_volume(a_series(tmp_path / "cine", voxels(), change=frame, sop_class=MR), "image")
    assert read.axes == "tyx"
    assert read.spacing == (pytest.approx(0.04), 0.7, 0.5)
    np.testing.assert_array_equal(read.array[0], voxels()[[0, 3, 1, 4, 2]])


def test_a_cine_without_times_is_sorted_by_number(tmp_path: Path) -> None:
    def frame(dataset: Any, number: int) -> None:
        dataset.ImagePositionPatient = [1.0, 2.0, 3.0]
        dataset.InstanceNumber = 9 - number

    read = read_volume(a_series(tmp_path / "cine", voxels(), change=frame, sop_class=MR), "image")
    np.testing.assert_array_equal(read.array[0], voxels()[::-1])
    assert read.spacing[0] == 1.0


def test_an_ultrasound_clip_has_the_time_and_size_of_its_header(tmp_path: Path) -> None:
    from dicom_builders import sequence

    region = sequence(
        RegionSpatialFormat=1,
        PhysicalUnitsXDirection=3,
        PhysicalUnitsYDirection=3,
        PhysicalDeltaX=0.02,
        PhysicalDeltaY=0.03,
    )
    colours = voxels((4, 6, 8, 3), kind="uint8")
    path = a_cine(tmp_path / "clip", colours, "RGB", FrameTime=25.0, SequenceOfUltrasoundRegions=region)
    read = read_volume(path, "image", "tyx")
    np.testing.assert_allclose(read.spacing, (0.025, 0.3, 0.2))
    np.testing.assert_array_equal(read.array, np.moveaxis(colours, -1, 0))


def test_an_image_is_two_dimensional_and_bright_is_bright(tmp_path: Path) -> None:
    given = voxels((6, 8), kind="uint8")
    spacing = {"ImagerPixelSpacing": [0.2, 0.1]}
    plain = read_volume(a_single_image(tmp_path / "a.dcm", given, **spacing), "image")
    inverted = read_volume(a_single_image(tmp_path / "b.dcm", 255 - given, "MONOCHROME1"), "image")
    assert (plain.axes, plain.spacing) == ("yx", (0.2, 0.1))
    np.testing.assert_array_equal(plain.array[0], given)
    np.testing.assert_array_equal(inverted.array, plain.array)


def test_files_need_no_ending(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan.1", voxels(), name=lambda number: f"1.2.840.{number}")
    (folder / "notes").write_text("nothing", encoding="utf-8")
    assert is_volume(folder)
    assert (ending(folder), stem(folder), stem(folder / "1.2.840.3")) == (".dcm", "scan.1", "1.2.840.3")
    assert read_volume(folder, "image").shape == SHAPE
    assert read_volume(folder / "1.2.840.3", "image", "zyx").shape == SHAPE


def change_at(number: int, **values: Any) -> Any:
    """Spoils one slice."""

    def change(dataset: Any, at: int) -> None:
        if at == number:
            for keyword, value in values.items():
                setattr(dataset, keyword, value)

    return change


def tilted(dataset: Any, number: int) -> None:
    """As a gantry that leans by 15 degrees."""
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y + 2.0 * number * np.tan(np.radians(15)), z]


def two_phases(dataset: Any, number: int) -> None:
    dataset.ImagePositionPatient = [0.0, 0.0, float(number // 2)]


@pytest.mark.parametrize(
    "change, message",
    [
        (tilted, "scan: its slices are sheared by 15.0 degrees"),
        (two_phases, "scan: has 6 frames at 3 places"),
        (
            change_at(2, ImagePositionPatient=[-10.0, -20.0, 32.0]),
            "IM004.dcm: lies at the same position as IM005",
        ),
        (change_at(5, ImagePositionPatient=[-10.0, -20.0, 44.0]), "IM001.dcm: 2 slices are missing between"),
        (
            change_at(2, ImagePositionPatient=[-10.0, -20.0, 34.9]),
            "mm above IM005.dcm where the others are 2 mm apart",
        ),
        (change_at(2, ImageOrientationPatient=[1, 0, 0, 0, 0, 1]), "IM004.dcm: lies in another plane than"),
        (change_at(2, PixelSpacing=[1.0, 1.0]), "IM004.dcm: has pixels of (1.0, 1.0) mm"),
        (change_at(2, PhotometricInterpretation="MONOCHROME1"), "holds 6 x 8 x 1 MONOCHROME1 16-bit"),
        (change_at(2, PixelData=b"\0\0"), "IM004.dcm: cannot be read as DICOM"),
        (change_at(2, ImagePositionPatient=None), "IM004.dcm: has no ImagePositionPatient"),
        (change_at(2, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "IM004.dcm: lies in another plane"),
        (change_at(2, PixelSpacing=["1", "2", "3"]), "IM004.dcm: cannot be read as DICOM (PixelSpacing"),
    ],
)
def test_what_is_no_regular_volume_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan", voxels((6, 6, 8)).astype("uint16"), change=change)
    assert message in refusal(folder)


def test_small_roundings_of_positions_are_none_of_these(tmp_path: Path) -> None:
    def round_off(dataset: Any, number: int) -> None:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x + 0.01 * (number % 2), y, round(z / 3, 2)]

    assert read_volume(a_series(tmp_path / "scan", voxels(), change=round_off), "image").shape == SHAPE


def test_slices_of_another_size_are_refused(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan", voxels())
    a_series(folder, voxels((1, 4, 4)), origin=(0, 0, 90), name=lambda _: "scout.dcm")
    assert "scout.dcm: holds 4 x 4 x 1" in refusal(folder)


def test_a_damaged_slice_refuses_its_series(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan", voxels())
    (folder / "IM005.dcm").write_bytes(b"nonsense")
    assert "IM005.dcm: cannot be read as DICOM" in refusal(folder)
    assert "IM005.dcm: cannot be read as DICOM" in refusal(folder / "IM001.dcm")
    (case,) = find_inputs([tmp_path], 1, "zyx")
    assert "IM005.dcm" in refusal(case.images[0])


@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_a_truncated_file_is_one_line(part: float, tmp_path: Path) -> None:
    path = enhanced(tmp_path / "one.dcm", voxels((5, 24, 32)), list(range(5)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    assert "one.dcm: " in refusal(path)


def test_a_declared_size_beyond_the_file_is_refused(tmp_path: Path) -> None:
    path = a_cine(tmp_path / "clip.dcm", voxels((4, 6, 8), kind="uint8"), Rows=60000, Columns=60000)
    assert "clip.dcm: cannot be read as DICOM" in refusal(path, "tyx")
    path = a_cine(tmp_path / "long.dcm", voxels((4, 6, 8), kind="uint8"), NumberOfFrames=2_000_000_000)
    assert "long.dcm: cannot be read as DICOM (it declares" in refusal(path, "tyx")


def test_a_folder_of_many_series_is_many_images(tmp_path: Path) -> None:
    def third(dataset: Any, _: int) -> None:
        dataset.SeriesNumber = 3

    a_series(tmp_path / "p1" / "mixed", voxels(seed=1))
    a_series(
        tmp_path / "p1" / "mixed", voxels(seed=2), series="other", change=third, name=lambda n: f"B{n}.dcm"
    )
    a_series(tmp_path / "p2", voxels(seed=3))
    cases = find_inputs([tmp_path], 1, "zyx")
    assert [case.name for case in cases] == ["p1_mixed_series1", "p1_mixed_series3", "p2"]
    for seed, case in enumerate(cases, start=1):
        np.testing.assert_array_equal(read_volume(case.images[0], "image", "zyx").array[0], voxels(seed=seed))
    assert "mixed: holds 2 DICOM images; name a file of the one that is meant" in refusal(
        tmp_path / "p1/mixed"
    )


def test_any_file_of_a_series_names_it(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan", voxels())
    (case,) = find_inputs(sorted(folder.iterdir()), 1, "zyx")
    assert (case.name, case.images) == ("scan", (folder,))
    images = find_inputs([folder], 1, "yx")
    assert [case.name for case in images] == [f"IM00{number}" for number in range(1, 6)]


def test_each_slice_of_a_cine_stack_is_a_cine(tmp_path: Path) -> None:
    def phase(dataset: Any, number: int) -> None:
        dataset.ImagePositionPatient = [0.0, 0.0, 10.0 * (number // 3)]
        dataset.TriggerTime = 30.0 * (number % 3)

    folder = a_series(tmp_path / "sax", voxels((6, 6, 8)), change=phase, sop_class=MR)
    cases = find_inputs([folder], 1, "tyx")
    assert [case.name for case in cases] == ["sax_series1_slice1", "sax_series1_slice2"]
    for number, case in enumerate(cases):
        read = read_volume(case.images[0], "image", "tyx")
        np.testing.assert_array_equal(read.array[0], voxels((6, 6, 8))[3 * number : 3 * number + 3])
    assert "sax: holds 2 DICOM images" in refusal(folder, "tyx")


def test_reports_and_directories_are_no_images(tmp_path: Path) -> None:
    from dicom_builders import a_dataset, save

    folder = a_series(tmp_path / "scan", voxels())
    save(a_dataset("1.2.840.10008.5.1.4.1.1.88.11", "series", "report"), folder / "SR.dcm")
    (folder / "DICOMDIR").write_bytes(b"anything")
    assert read_volume(folder, "image").shape == SHAPE
    assert [case.name for case in find_inputs([tmp_path], 1, "zyx")] == ["scan"]
    assert "is no image but DICOM of the kind Basic Text SR" in refusal(folder / "SR.dcm")


def test_compressed_pixels_are_decoded(tmp_path: Path) -> None:
    import pydicom
    from pydicom.uid import RLELossless

    folder = a_series(tmp_path / "scan", voxels())
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    np.testing.assert_array_equal(read_volume(folder, "image").array[0], voxels())


def test_an_unknown_compression_names_what_is_missing(tmp_path: Path) -> None:
    import pydicom

    path = a_single_image(tmp_path / "a.dcm", voxels((6, 8), kind="uint8"))
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 20])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    assert "for which there is no decoder here; export its frames" in refusal(path, "yx")


def test_without_the_extra_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = a_series(tmp_path / "scan", voxels())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert (
        refusal(folder) == 'pydicom is missing, which DICOM needs; install it with pip install "ldseg[dicom]"'
    )
    with pytest.raises(InputError, match=r"ldseg\[dicom\]"):
        find_inputs([tmp_path], 1, "zyx")
