"""Pixels as scanners and archives store them: decoded to the right values, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

pytest.importorskip("pydicom", reason="the extra dicom is not installed")

from dicom_builders import a_cine, a_series, a_single_image, sequence
from test_dicom import refusal, voxels

from ldseg.data.formats import read_volume

COLOURS = voxels((6, 8, 3), kind="uint8")
GREY = voxels((6, 8), kind="uint8")
REGION = {
    "RegionSpatialFormat": 1,
    "PhysicalUnitsXDirection": 3,
    "PhysicalUnitsYDirection": 3,
    "PhysicalDeltaX": 0.02,
    "PhysicalDeltaY": 0.03,
}


def test_overlays_in_the_high_bits_are_no_values(tmp_path: Path) -> None:
    given = voxels(kind="int16") - 100

    def hide(dataset: Any, number: int) -> None:
        dataset.PixelData = ((given[number].astype(int) & 0xFFF) | 0x5000).astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit = 12, 11

    read = read_volume(a_series(tmp_path / "scan", given, change=hide), "image")
    np.testing.assert_array_equal(read.array[0], given)


def test_values_in_unclear_bits_are_refused(tmp_path: Path) -> None:
    def shift(dataset: Any, _number: int) -> None:
        dataset.BitsStored, dataset.HighBit = 12, 15

    assert "12 bits stored and HighBit 15" in refusal(a_series(tmp_path / "scan", voxels(), change=shift))


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan", voxels())
    for path in list(folder.iterdir()):
        little = pydicom.dcmread(path)
        swapped = little.pixel_array.astype(">i2").tobytes()
        big = pydicom.Dataset()
        big.update({tag: little[tag] for tag in little.keys()})  # noqa: SIM118
        big.file_meta = little.file_meta
        big.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        big.PixelData = swapped
        pydicom.dcmwrite(path, big, little_endian=False, implicit_vr=False, enforce_file_format=True)
    np.testing.assert_array_equal(read_volume(folder, "image").array[0], voxels())


def test_floats_are_read_as_they_are(tmp_path: Path) -> None:
    given = (voxels() / 7).astype("<f4")

    def change(dataset: Any, number: int) -> None:
        for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
            del dataset[name]
        dataset.BitsAllocated, dataset.FloatPixelData = 32, given[number].tobytes()

    read = read_volume(a_series(tmp_path / "scan", voxels(), change=change), "image")
    np.testing.assert_array_equal(read.array[0], given)


def test_colours_by_planes_are_those_by_pixels(tmp_path: Path) -> None:
    planes = {"PlanarConfiguration": 1, "PixelData": np.moveaxis(COLOURS, -1, 0).tobytes()}
    read = read_volume(a_single_image(tmp_path / "a.dcm", COLOURS, "RGB", **planes), "image")
    np.testing.assert_array_equal(read.array, np.moveaxis(COLOURS, -1, 0))


def test_halved_chroma_becomes_colour(tmp_path: Path) -> None:
    from pydicom.pixels import convert_color_space

    given = COLOURS.copy()
    given[:, 1::2, 1:] = given[:, ::2, 1:]  # Y Cb Cr, with one chroma for two neighbours
    packed = np.stack([given[:, ::2, 0], given[:, 1::2, 0], given[:, ::2, 1], given[:, ::2, 2]], axis=-1)
    path = a_single_image(tmp_path / "a.dcm", COLOURS, "YBR_FULL_422", PixelData=packed.tobytes())
    expected = convert_color_space(given, "YBR_FULL", "RGB")
    np.testing.assert_array_equal(read_volume(path, "image").array, np.moveaxis(expected, -1, 0))


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_become_their_colours(bits: int, tmp_path: Path) -> None:
    table = (np.arange(256) * (257 if bits == 16 else 1)).astype(f"<u{bits // 8}")
    values: dict[str, Any] = {}
    for number, name in enumerate(("Red", "Green", "Blue")):
        values[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        values[f"{name}PaletteColorLookupTableData"] = np.roll(table, number).tobytes()
    read = read_volume(a_single_image(tmp_path / "a.dcm", GREY, "PALETTE COLOR", **values), "image")
    np.testing.assert_array_equal(read.array, np.stack([np.roll(table, n)[GREY] for n in range(3)]))


@pytest.mark.parametrize("count", [0, None])
def test_no_number_of_frames_is_one(count: int | None, tmp_path: Path) -> None:
    path = a_single_image(tmp_path / "a.dcm", GREY, NumberOfFrames=count)
    np.testing.assert_array_equal(read_volume(path, "image").array[0], GREY)


def test_files_without_pixels_or_values_are_refused(tmp_path: Path) -> None:
    def scale(dataset: Any, _number: int) -> None:
        dataset.RescaleSlope = 0

    assert "RescaleSlope of 0" in refusal(a_series(tmp_path / "flat", voxels(), change=scale))
    empty = a_series(tmp_path / "empty", voxels(), change=lambda dataset, _number: dataset.pop("PixelData"))
    assert "has no pixels" in refusal(empty)


def test_a_slide_in_tiles_is_no_cine(tmp_path: Path) -> None:
    tiles = voxels((4, 6, 8, 3), kind="uint8")
    path = a_cine(tmp_path / "slide.dcm", tiles, "RGB", TotalPixelMatrixRows=12, TotalPixelMatrixColumns=16)
    for axes in (None, "yx", "tyx", "zyx"):
        assert "is a slide that is cut into 4 tiles; convert it to a tiled TIFF" in refusal(path, axes)


@pytest.mark.parametrize(
    "syntax, remedy",
    [("4.70", "python-gdcm"), ("4.201", "pylibjpeg-openjpeg"), ("4.100", "export its frames uncompressed")],
)
def test_a_missing_decoder_has_a_remedy_that_works(syntax: str, remedy: str, tmp_path: Path) -> None:
    path = a_single_image(tmp_path / "a.dcm", GREY)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(f"1.2.840.10008.1.2.{syntax}")
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 20])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.save_as(path)
    assert remedy in refusal(path, "yx")


@pytest.mark.parametrize(
    "values, spacing, note",
    [
        ({}, None, "how large a pixel is"),
        ({"PixelSpacing": [0, 0]}, None, "how large a pixel is"),
        ({"PixelSpacing": None}, None, "how large a pixel is"),
        ({"PixelSpacing": [0.3, 0.2], "ImagerPixelSpacing": [1, 1]}, (0.3, 0.2), ""),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "at the detector"),
        ({"NominalScannedPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "on the scanned film"),
        ({"SequenceOfUltrasoundRegions": sequence(**REGION)}, (0.3, 0.2), ""),
        (
            {"SequenceOfUltrasoundRegions": sequence(**REGION | {"PhysicalUnitsXDirection": 4})},
            None,
            "how large a pixel is",
        ),
        (
            {
                "SequenceOfUltrasoundRegions": [
                    *sequence(**REGION),
                    *sequence(**REGION | {"PhysicalDeltaX": 0.01}),
                ]
            },
            None,
            "how large a pixel is",
        ),
    ],
)
def test_the_size_of_a_pixel_is_what_the_header_says(
    values: dict[str, Any], spacing: tuple[float, ...] | None, note: str, tmp_path: Path
) -> None:
    read = read_volume(a_single_image(tmp_path / "a.dcm", GREY, **values), "image")
    assert read.physical == (spacing is not None)
    assert read.spacing == pytest.approx(spacing or (1.0, 1.0))
    assert bool(note) == bool(read.notes)
    assert note in "".join(read.notes)


def test_a_volume_of_unknown_pixels_is_not_physical(tmp_path: Path) -> None:
    folder = a_series(
        tmp_path / "scan", voxels(), change=lambda dataset, _number: dataset.pop("PixelSpacing")
    )
    read = read_volume(folder, "image")
    assert (read.physical, read.spacing) == (False, (1.0, 1.0, 1.0))


def test_one_slice_of_unknown_thickness_is_said(tmp_path: Path) -> None:
    folder = a_series(
        tmp_path / "scan", voxels((1, 6, 8)), change=lambda dataset, _number: dataset.pop("SliceThickness")
    )
    assert "1 mm thick" in read_volume(folder, "image", "zyx").notes[0]


@pytest.mark.filterwarnings("ignore")
def test_what_no_image_needs_may_be_nonsense(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "scan", voxels())
    for path in list(folder.iterdir()):
        content = path.read_bytes()
        path.write_bytes(
            content.replace(b"\x18\x00\x50\x00DS\x04\x002.0 ", b"\x18\x00\x50\x00DS\x04\x00none")
        )
    np.testing.assert_array_equal(read_volume(folder, "image").array[0], voxels())


def test_more_frames_than_are_counted_are_refused(tmp_path: Path) -> None:
    path = a_cine(tmp_path / "clip.dcm", voxels((4, 6, 8), kind="uint8"), NumberOfFrames=None)
    assert "192 bytes of pixels where its header describes 48" in refusal(path, "yx")


def test_pixels_compressed_without_saying_how_are_refused(tmp_path: Path) -> None:
    path = a_single_image(tmp_path / "a.dcm", GREY)
    dataset = pydicom.dcmread(path)
    dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    pydicom.filewriter.write_dataset(buffer, dataset)
    path.write_bytes(buffer.getvalue())
    assert "has compressed pixels and does not say how" in refusal(path, "yx")
