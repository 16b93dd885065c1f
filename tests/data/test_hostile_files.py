"""Files that promise what they do not hold, or hold more than anyone can: one line each, before too late."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import bombs
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from dicom_builders import a_series
from PIL import Image
from volume_builders import plain, save_image, save_volume, volume, write_json

from ldseg.data.dataset import open_dataset
from ldseg.data.formats import read_volume, write_volume
from ldseg.data.formats.decompress import inflated_size
from ldseg.data.formats.tiff import is_colour, size_of_page
from ldseg.data.formats.tiff_regions import TiffRegions
from ldseg.data.inputs import find_inputs
from ldseg.errors import InputError

_LARGE = 2**29  # bytes that a small bomb inflates to


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_volume(path, "image")
    assert "\n" not in str(error.value).removeprefix(str(path))


def nifti(shape: tuple[int, ...] = (3, 4, 5)) -> bytes:
    """A small file whose header says `shape`."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return header.binaryblock + bytes(4) + bytes(60)


def test_a_nifti_that_inflates_to_more_than_its_header_promises_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(bombs.gzip_stream(_LARGE, nifti()))
    refused(tmp_path / "a.nii.gz", "far more than the 412 bytes")


def test_a_little_behind_the_voxels_is_no_fault_and_the_checksum_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    content = gzip.compress(nifti() + bytes(5000))
    path.write_bytes(content)
    assert read_volume(path, "image").shape == (5, 4, 3)
    path.write_bytes(content[:-8] + bytes(8))
    refused(path, "CRC")


@pytest.mark.parametrize("shape", [(2000, 2000, 2000), (32767,) * 7])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_shape_for_which_there_is_no_memory_is_refused_unread(
    shape: tuple[int, ...], ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ldseg.utils.system.available_memory", lambda: 10**9)
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(nifti(shape)) if ending == ".nii.gz" else nifti(shape))
    refused(path, r"promises \d+ voxels")


def test_where_voxels_begin_must_be_in_the_file(tmp_path: Path) -> None:
    content = bytearray(nifti())
    content[108:112] = np.float32(1e30).tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    refused(tmp_path / "a.nii", "voxels begin at")


META = "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_UCHAR\n"


@pytest.mark.parametrize(
    "header, message",
    [
        (META.replace("NDims = 3", "NDims = 1000"), "NDims is 1000"),  # crashed ITK
        (META.replace("4 5 6", "4 5"), "DimSize is 4 5"),
        (META.replace("4 5 6", "-4 -5 6"), "DimSize is -4 -5 6"),
        (META + "ElementSpacing = 1 1 nan\n", "ElementSpacing is 1 1 nan"),
        (META + "ElementSpacing = 1 1 0\n", "ElementSpacing is 1 1 0"),
        (META + "TransformMatrix = 1 0 0\n", "TransformMatrix is 1 0 0"),
        (META + "ElementNumberOfChannels = 0\n", "ElementNumberOfChannels is 0"),
        (META + "BinaryData = False\n", "written in words"),
        (META + "CompressedData = perhaps\n", "CompressedData is perhaps"),
        (META + f"Comment = {'x' * 5000}\n", "header is incomplete"),
        (META + "NDims = 3\n", "header is incomplete"),
        ("DimSize = 4 5 6\n" + META, "header is in disorder"),
        (META.replace("Image", "Tube"), "ObjectType is Tube"),
    ],
)
def test_a_metaimage_header_that_itk_cannot_take_never_reaches_it(
    header: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.mha").write_bytes(f"{header}ElementDataFile = LOCAL\n".encode() + bytes(120))
    refused(tmp_path / "a.mha", message)


@pytest.mark.parametrize("source", ["LIST", "slice%03d.raw 1 9 1", "pipe", "gone.raw", "."])
def test_voxels_of_an_mhd_are_in_one_file_beside(source: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.mhd").write_text(f"{META}ElementDataFile = {source}\n")
    refused(tmp_path / "a.mhd", "in several files|is missing")


NRRD = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 5 6\nencoding: raw\n"


@pytest.mark.parametrize(
    "header, message",
    [
        (NRRD.replace("dimension: 3", "dimension: 0"), "in 0 dimensions"),
        (NRRD.replace("4 5 6", "4 5"), "sizes are 4 5"),
        (NRRD.replace("uchar", "block"), "type is block"),
        (NRRD.replace("raw", "zstd"), "encoding is zstd"),
        (NRRD + "byte skip: -99\n", "-99 bytes"),
        (NRRD + "line skip: 2000000000\n", "skips 2000000000 lines"),
        (NRRD + "space dimension: 3\nspace directions: (1,0,0) (0,1,0)\n", "space directions are"),
        (NRRD + "space dimension: 3\nspace directions: (nan,0,0) (0,1,0) (0,0,1)\n", "has a vector"),
        (NRRD + "sizes: 4 5 6\n", "two fields sizes"),
        (NRRD + "data file: pipe\n", "pipe is missing"),  # ITK would wait for ever
        (NRRD + "data file: LIST\n", "several files"),
        (NRRD.replace("4 5 6", "400 5 6"), "120 of 12000 bytes"),
    ],
)
def test_a_nrrd_header_that_itk_cannot_take_never_reaches_it(
    header: str, message: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.nrrd").write_bytes(header.encode() + b"\n" + bytes(120))
    refused(tmp_path / "a.nrrd", message)


def test_compressed_voxels_of_itk_formats_are_counted_no_further_than_promised(tmp_path: Path) -> None:
    stream = bombs.zlib_stream(_LARGE)
    header = f"{META}CompressedData = True\nCompressedDataSize = {len(stream)}\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(header.encode() + stream)
    refused(tmp_path / "a.mha", "far more than the 120 bytes")
    (tmp_path / "a.nrrd").write_bytes(
        NRRD.replace("raw", "gzip").encode() + b"\n" + bombs.gzip_stream(_LARGE)
    )
    refused(tmp_path / "a.nrrd", "far more than the 120 bytes")


@pytest.mark.parametrize("compression", ["zlib", "bzip2", "lzma"])
def test_a_sound_stream_is_counted_and_a_short_one_noticed(compression: str, tmp_path: Path) -> None:
    content = __import__({"bzip2": "bz2"}.get(compression, compression)).compress(bytes(10**7))
    (tmp_path / "a").write_bytes(b"head" + content)
    assert inflated_size(tmp_path / "a", 4, 10**7, compression) == 10**7
    (tmp_path / "a").write_bytes(content[:-3])
    with pytest.raises(ValueError, match="end early"):
        inflated_size(tmp_path / "a", 0, 10**7, compression)


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_a_path_that_is_not_in_utf_8_does_not_crash_itk(ending: str, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"latin \xe9" + ending.encode())
    path.write_bytes(save_volume(tmp_path / f"a{ending}", volume()).read_bytes())
    refused(path, "not in UTF-8")


@pytest.mark.parametrize("name", ["50%s.mhd", "two\nlines.mhd"])
def test_a_name_that_an_mhd_cannot_hold_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot name its data file"):
        write_volume(tmp_path / name, volume())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["EPS", "PDF", "GIF"])
def test_what_is_no_png_bmp_or_jpeg_is_not_opened_as_one(form: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a", form)  # EPS would run Ghostscript
    (tmp_path / "a").rename(tmp_path / "a.png")
    refused(tmp_path / "a.png", r"cannot be read as PNG, BMP or JPEG \(cannot identify image file")


def test_a_jpeg_of_very_many_scans_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).save(
        tmp_path / "a.jpg", progressive=True
    )
    content = (tmp_path / "a.jpg").read_bytes()
    last = content[content.rfind(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(content[:-2] + 300 * last + content[-2:])
    refused(tmp_path / "a.jpg", "more than 200 scans")


def tiff(path: Path, strip: bytes) -> Path:
    """One strip of 16 x 20 pixels that says it is deflated."""
    tifffile.imwrite(path, np.zeros((16, 20), np.uint8), compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        places = {name: tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")}
    content = bytearray(path.read_bytes())
    values = {"StripOffsets": len(content), "StripByteCounts": len(strip)}
    for name, place in places.items():
        width = 4 if place + 4 <= len(content) else 2
        content[place : place + width] = values[name].to_bytes(width, "little")
    path.write_bytes(bytes(content) + strip)
    return path


def test_a_strip_that_inflates_to_far_more_than_its_pixels_is_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", bombs.zlib_stream(_LARGE))
    refused(path, "far more than the 320 bytes")
    with pytest.raises(InputError, match="far more than the 320 bytes"):
        TiffRegions(path, 1)


@pytest.mark.parametrize("back", [0, 130])
def test_pages_in_a_circle_are_refused(back: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((140, 4, 5), np.uint8), compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as file:
        places = [page.offset for page in file.pages]
    content = path.read_bytes()
    before, last = content[: places[-1]], content[places[-1] :]
    after = 2 + 12 * int.from_bytes(last[:2], "little")
    path.write_bytes(before + last[:after] + places[back].to_bytes(4, "little") + last[after + 4 :])
    refused(path, "follow each other in a circle")
    with pytest.raises(InputError, match="follow each other in a circle"):
        TiffRegions(path, 1)


def test_a_page_with_fewer_strips_than_its_size_needs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 20), np.uint8), compression="zlib", rowsperstrip=8, metadata=None)
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.tags["ImageLength"].valueoffset
    content = bytearray(path.read_bytes())
    content[place : place + 2] = (2**15).to_bytes(2, "little")
    path.write_bytes(content)
    refused(path, "a page of 4096 strips or tiles has 2 of them")


def test_ome_metadata_lead_to_no_other_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ome.tif")  # opened, it would wait for ever
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.zeros((2, 16, 20), np.uint8), ome=True, metadata={"axes": "ZYX"}
    )
    content = (tmp_path / "a.ome.tif").read_bytes()
    own = content[content.find(b"<TiffData") : content.find(b"</TiffData>")]
    named = own[: own.find(b">")] + b'><UUID FileName="pipe.ome.tif">urn:uuid:1</UUID>'
    shorter = content.replace(own, named).replace(b"</OME>", b"")
    (tmp_path / "b.ome.tif").write_bytes(shorter)
    assert read_volume(tmp_path / "b.ome.tif", "image").array.size


def test_a_glance_at_a_damaged_tiff_raises_nothing(tmp_path: Path) -> None:
    sound = tiff(tmp_path / "a.tif", b"").read_bytes()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        content = bytearray(sound)
        for place in rng.integers(0, len(sound), 8):
            content[place] = rng.integers(256)
        (tmp_path / "b.tif").write_bytes(content)
        assert is_colour(tmp_path / "b.tif") in (True, False)
        assert size_of_page(tmp_path / "b.tif") >= 0


def test_a_deflated_dicom_bomb_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from hostile_volumes import _deflated_bomb

    folder = a_series(tmp_path / "scan", np.zeros((2, 4, 5), np.int16))
    first = sorted(folder.iterdir())[0]
    first.write_bytes(_deflated_bomb(first.read_bytes()))
    refused(first, "far more than")


def test_float_ids_beyond_whole_numbers_are_refused(tmp_path: Path) -> None:
    ids = np.zeros((3, 4, 5), np.float32)
    for number, finding in ((3e38, "beyond 32 bits"), (np.inf, "1 voxels that are NaN or infinite")):
        ids[0, 0, 0] = number
        nib.save(nib.Nifti1Image(ids, np.eye(4)), tmp_path / "a.nii")
        with pytest.raises(InputError, match=finding):
            read_volume(tmp_path / "a.nii", "labels")


def test_results_fit_where_names_are_as_long_as_they_may_be(tmp_path: Path) -> None:
    given = save_volume(tmp_path / f"{'l' * 248}.nii.gz", plain("zyx"))
    assert read_volume(given, "labels").shape == plain("zyx").shape


@pytest.mark.parametrize("name", ["../../evil", "a/b", "..", "a\\b"])
def test_a_name_in_a_list_leads_out_of_no_folder(name: str, tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    write_json(tmp_path / "cases.json", [{"image": "a.png", "label": "a.png", "name": name}])
    for ask in (lambda: open_dataset(tmp_path), lambda: find_inputs([tmp_path], 1)):
        with pytest.raises(InputError, match="which is none of a file"):
            ask()


@pytest.mark.parametrize(
    "content", ['{"training": [1]}', '{"training": [{"image": "a.png"}], "test": 3}', "[" * 10**5]
)
def test_a_description_of_another_form_is_one_line(content: str, tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a.png")
    save_image(tmp_path / "masks" / "a.png")
    save_image(tmp_path / "a.png")
    (tmp_path / "dataset.json").write_text(content)
    for layout in ("two_folders", "decathlon"):
        words = [sys.executable, "-m", "ldseg.app.cli.main", "check", str(tmp_path), "--data.layout", layout]
        if layout == "two_folders" and content.startswith("{"):
            continue
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_what_libraries_mutter_is_not_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    header = bytearray(nifti())
    header[80:84] = np.float32(-1).tobytes()  # pixdim[1]
    (tmp_path / "a.nii").write_bytes(header)
    read_volume(tmp_path / "a.nii", "image")
    pages = [Image.new("L", (8, 6))]
    pages[0].save(tmp_path / "a.tif", compression="tiff_lzw")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[8:12] = b"\1\2\3\4"
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError):
        read_volume(tmp_path / "a.tif", "image")
    assert capfd.readouterr().err == ""


def test_what_image_codecs_mutter_is_not_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="jpegxr", tile=(64, 64))
    with tifffile.TiffFile(path) as file:
        first = file.pages.first.dataoffsets[0]
    content = bytearray(path.read_bytes())
    for place in range(first + 8, first + 40):
        content[place] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_volume(path, "image")
    assert capfd.readouterr().err == ""


def test_strips_of_no_rows_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 20), np.uint8), compression="zlib", rowsperstrip=8)
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.tags["RowsPerStrip"].valueoffset
    content = bytearray(path.read_bytes())
    content[place : place + 2] = bytes(2)
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as TIFF"):
        TiffRegions(path, 1)


def test_geometry_of_another_machines_byte_order_is_the_same(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    sitk.WriteImage(image, str(tmp_path / "a.mhd"))
    sound = read_volume(tmp_path / "a.mhd", "image")
    raw = tmp_path / "a.raw"
    raw.write_bytes(np.frombuffer(raw.read_bytes(), "<i2").astype(">i2").tobytes())
    text = (tmp_path / "a.mhd").read_text()
    (tmp_path / "a.mhd").write_text(text.replace("OrderMSB = False", "OrderMSB = True"))
    assert "OrderMSB = True" in (tmp_path / "a.mhd").read_text()
    np.testing.assert_array_equal(read_volume(tmp_path / "a.mhd", "image").array, sound.array)
