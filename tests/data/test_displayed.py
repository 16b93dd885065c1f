"""TIFFs are read as displayed: orientation, photometric interpretation, whatever the compression."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from ldseg.data.dataset import open_dataset
from ldseg.data.formats import is_colour, read_volume
from ldseg.data.formats.displayed import apply_orientation, stored_region
from ldseg.data.formats.tiff_regions import TiffRegions
from ldseg.data.loading import load_case
from ldseg.errors import InputError

GREY = np.arange(15 * 21, dtype=np.uint16).reshape(15, 21)
LAYOUTS: dict[str, dict[str, Any]] = {
    "strip": {},
    "lzw": {"compression": "lzw"},
    "lzw, predictor": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib"},
    "packbits": {"compression": "packbits"},
    "zstd": {"compression": "zstd"},
    "tiles": {"tile": (16, 16), "compression": "lzw"},
    "big": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
}


def tag(orientation: int) -> list[tuple[Any, ...]]:
    return [(274, "H", 1, orientation, False)]


def shown_by_pillow(array: np.ndarray, orientation: int) -> np.ndarray:
    """The displayed array, by an independent program."""
    image = Image.fromarray(array)
    exif = image.getexif()
    exif[274] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_orientation_tag_is_applied_whatever_the_layout(
    layout: str, orientation: int, tmp_path: Path
) -> None:
    path, colours = tmp_path / "a.tif", np.stack([GREY % 251, GREY % 7, GREY % 13], -1).astype(np.uint8)
    for array, planar in ((GREY, None), (colours, "contig"), (np.moveaxis(colours, -1, 0), "separate")):
        more = {"photometric": "rgb", "planarconfig": planar} if planar else {"photometric": "minisblack"}
        tifffile.imwrite(path, array, extratags=tag(orientation), metadata=None, **more, **LAYOUTS[layout])
        planes = array[None] if planar is None else colours.transpose(2, 0, 1)
        expected = np.stack([shown_by_pillow(plane, orientation) for plane in planes])
        read = read_volume(path, "image")
        np.testing.assert_array_equal(read.array, expected)
        assert bool(read.notes) == (orientation != 1)
        if planar is None:
            np.testing.assert_array_equal(read_volume(path, "labels").array, expected)


def test_the_orientation_tag_turns_every_page_and_the_spacing(tmp_path: Path) -> None:
    stack = np.stack([GREY, GREY + 1])
    metadata = {"axes": "ZYX", "PhysicalSizeX": 1, "PhysicalSizeY": 2, "PhysicalSizeZ": 3}
    tifffile.imwrite(
        tmp_path / "a.ome.tif", stack, metadata=metadata, extratags=tag(6), photometric="minisblack"
    )
    read = read_volume(tmp_path / "a.ome.tif", "image")
    np.testing.assert_array_equal(read.array[0], np.stack([np.rot90(page, -1) for page in stack]))
    np.testing.assert_allclose(read.spacing, (3e-3, 1e-3, 2e-3))
    assert read.physical
    assert "Orientation tag says (6)" in read.notes[0]


def test_pages_of_several_orientations_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for orientation in (1, 3):
            file.write(GREY, metadata=None, extratags=tag(orientation), photometric="minisblack")
    with pytest.raises(InputError, match=r"orientation 1 and of 3.*a file of its own"):
        read_volume(tmp_path / "a.tif", "image")


@pytest.mark.parametrize("value", [0, 9, 200])
def test_an_orientation_that_does_not_exist_turns_nothing(value: int, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, extratags=tag(value))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif", "image").array[0], GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_stored_region_is_that_of_the_displayed_image(orientation: int) -> None:
    shown, region = apply_orientation(GREY, orientation), (slice(2, 9), slice(4, 15))
    part = GREY[stored_region(region, shown.shape, orientation)]
    np.testing.assert_array_equal(apply_orientation(part, orientation), shown[region])


@pytest.mark.parametrize(
    "kind, bits, invert",
    [
        ("uint8", 8, lambda v: 255 - v),
        ("uint16", 16, lambda v: 65535 - v),
        ("uint16", 12, lambda v: 4095 - v),
        ("uint32", 32, lambda v: 2**32 - 1 - v),
        ("int16", 16, lambda v: -1 - v),
        ("float32", 32, lambda v: 1 - v),
        ("bool", 1, lambda v: 1 - v),
    ],
)
def test_white_as_zero_is_inverted(
    kind: str, bits: int, invert: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    stored = GREY % 200 > 90 if kind == "bool" else (GREY % 200).astype(kind)
    stored = stored / np.float32(256) if kind == "float32" else stored
    more: dict[str, Any] = {"bitspersample": 12} if bits == 12 else {}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", **more)
    read = read_volume(tmp_path / "a.tif", "image")
    np.testing.assert_array_equal(read.array[0], invert(stored.astype(np.float64)).astype(np.float32))
    assert "WhiteIsZero" in read.notes[0]
    assert "int" not in kind or read.stored == kind


def test_fractions_of_no_known_range_with_white_as_zero_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.float32), photometric="miniswhite")
    with pytest.raises(InputError, match=r"0 to 314 of no known range; save it with black as 0"):
        read_volume(tmp_path / "a.tif", "image")


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits", "group3", "group4"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_a_black_and_white_mask_is_as_displayed_whatever_the_compression(
    photometric: int, compression: str | None, tmp_path: Path
) -> None:
    mask = GREY % 200 > 150
    Image.fromarray(mask).save(tmp_path / "a.tif", compression=compression, tiffinfo={262: photometric})
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif", "labels").array[0], mask)
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "b.tif", tiffinfo={262: photometric})
    np.testing.assert_array_equal(read_volume(tmp_path / "b.tif", "labels").array[0], mask * 255)


def test_a_label_map_with_white_as_zero_has_its_ids_as_displayed_or_is_refused(tmp_path: Path) -> None:
    ids = (GREY % 4).astype(np.uint8)
    Image.fromarray(ids).save(tmp_path / "a.tif", tiffinfo={262: 0})  # stored inverted
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif", "labels").array[0], ids)
    tifffile.imwrite(tmp_path / "b.tif", ids, photometric="miniswhite")
    with pytest.raises(InputError, match="its ids are 252 to 255; save it with black as 0"):
        read_volume(tmp_path / "b.tif", "labels")


def test_cmyk_inks_are_colours(tmp_path: Path) -> None:
    inks = np.zeros((15, 21, 4), np.uint8)
    inks[0, 0] = 255, 0, 0, 0
    inks[0, 1] = 0, 0, 0, 255
    inks[0, 2] = 0, 128, 0, 51
    for depth in ("uint8", "uint16"):
        scale = np.iinfo(depth).max // 255
        stored = inks.astype(depth) * np.asarray(scale, depth)
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric="separated", compression="lzw")
        read = read_volume(tmp_path / "a.tif", "image")
        assert (read.array[:, 0, :4] / scale).round().T.tolist() == [
            [0, 255, 255], [0, 0, 0], [204, 102, 204], [255, 255, 255],
        ]  # fmt: skip
        assert "colour profile" in read.notes[0]
    assert is_colour(tmp_path / "a.tif")


def test_ycbcr_in_jpeg_is_rgb(tmp_path: Path) -> None:
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[:, :32], colours[:, 32:] = (200, 30, 30), (20, 180, 60)
    tifffile.imwrite(
        tmp_path / "a.tif", colours, photometric="rgb", compression="jpeg", tile=(32, 32),
        subsampling=(2, 2), compressionargs={"level": 95},
    )  # fmt: skip
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages.first.photometric == tifffile.PHOTOMETRIC.YCBCR
    for read in (read_volume(tmp_path / "a.tif", "image").array, _by_regions(tmp_path / "a.tif", 3, 64, 64)):
        assert np.abs(read - colours.transpose(2, 0, 1)).max() < 8


@pytest.mark.parametrize("space", ["cielab", "ycbcr", "cfa"])
def test_other_colour_spaces_are_refused(space: str, tmp_path: Path) -> None:
    array = GREY.astype(np.uint8) if space == "cfa" else np.zeros((15, 21, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric=space)
    with pytest.raises(InputError, match=f"{space.upper()}.*; convert it to RGB or gray"):
        read_volume(tmp_path / "a.tif", "image")


def test_a_compression_that_nobody_decodes_is_one_line(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        place = file.pages.first.tags["Compression"].valueoffset
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[place : place + 2] = (32809).to_bytes(2, "little")  # ThunderScan
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"is compressed as THUNDERSCAN.*; save it with LZW"):
        read_volume(tmp_path / "a.tif", "image")


EXTRA: dict[str, tuple[Any, int, str]] = {
    "grey and opaque": (["unassalpha"], 1, "minisblack"),
    "grey and unstated": (["unspecified"], 1, "minisblack"),
    "colour and opaque": (["unassalpha"], 3, "rgb"),
    "colour and associated": (["assocalpha"], 3, "rgb"),
    "colour and unstated": (["unspecified"], 3, "rgb"),
}


@pytest.mark.parametrize("case", EXTRA)
def test_an_extra_sample_is_alpha_where_it_is_stated_or_opaque(case: str, tmp_path: Path) -> None:
    extra, colours, photometric = EXTRA[case]
    stored = np.dstack([GREY % 251] * colours + [np.full_like(GREY, 255)]).astype(np.uint8)
    words = {"photometric": photometric, "extrasamples": extra, "planarconfig": "contig", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", stored, **words)
    assert len(read_volume(tmp_path / "a.tif", "image").array) == colours
    stored[3, 4, -1] = 7
    tifffile.imwrite(tmp_path / "a.tif", stored, **words)
    if "unstated" in case:
        np.testing.assert_array_equal(
            read_volume(tmp_path / "a.tif", "image").array, stored.transpose(2, 0, 1)
        )
    else:
        with pytest.raises(InputError, match="1 pixels are transparent"):
            read_volume(tmp_path / "a.tif", "image")


def test_several_samples_that_are_no_colours_are_channels(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 99, (15, 21, 4)).astype(np.uint16)
    stored[..., 3] = 65535
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif", "image").array, stored.transpose(2, 0, 1))


def _by_regions(path: Path, channels: int, rows: int, columns: int) -> np.ndarray:
    """The whole image, read in four parts."""
    regions, (y, x) = TiffRegions(path, channels), (rows // 3, columns // 2)
    assert regions.outline.shape == (rows, columns)
    found = np.zeros((channels, rows, columns), np.float32)
    for part in (
        (slice(a, b), slice(c, d)) for a, b in ((0, y), (y, rows)) for c, d in ((0, x), (x, columns))
    ):
        found[:, part[0], part[1]] = regions.read(part)
    regions.close()
    return found


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb", "separated"])
def test_regions_are_those_of_the_displayed_image(orientation: int, photometric: str, tmp_path: Path) -> None:
    samples = {"rgb": 3, "separated": 4}.get(photometric, 1)
    stored = np.random.default_rng(0).integers(0, 255, (40, 70, samples), dtype=np.uint8).squeeze()
    for layout in ({"tile": (16, 32), "compression": "lzw"}, {"rowsperstrip": 7}):
        tifffile.imwrite(
            tmp_path / "a.tif", stored, photometric=photometric, extratags=tag(orientation), **layout
        )
        whole = read_volume(tmp_path / "a.tif", "image")
        if "tile" not in layout and orientation > 4:
            with pytest.raises(InputError, match=r"on its side.*; save it upright and in tiles"):
                TiffRegions(tmp_path / "a.tif", len(whole.array))
            continue
        found = _by_regions(tmp_path / "a.tif", len(whole.array), *whole.shape)
        np.testing.assert_array_equal(found, whole.array)
        assert TiffRegions(tmp_path / "a.tif", len(whole.array)).outline.notes == whole.notes


def test_a_bit_a_pixel_can_be_read_by_regions(tmp_path: Path) -> None:
    Image.fromarray(GREY % 5 > 2).save(tmp_path / "a.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(_by_regions(tmp_path / "a.tif", 1, *GREY.shape)[0], GREY % 5 > 2)


def test_a_mask_of_the_stored_pixels_of_a_turned_image_is_refused_with_a_remedy(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        words = {"extratags": tag(6)} if part == "images" else {}
        tifffile.imwrite(tmp_path / part / "a.tif", (GREY > 99).astype(np.uint8), **words)
    dataset = open_dataset(tmp_path)
    with pytest.raises(
        InputError, match=r"on its side .*Orientation tag says \(6\).*; turn the mask as viewers"
    ):
        load_case(dataset, dataset.cases[0])


def test_a_grey_image_has_three_equal_channels_for_a_model_of_colours(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, tile=(16, 16))
    np.testing.assert_array_equal(_by_regions(tmp_path / "a.tif", 3, *GREY.shape), np.stack([GREY] * 3))
