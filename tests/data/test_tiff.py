"""TIFF: pages, colours, palettes, spacing from metadata."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from volume_builders import plain

from ldseg.data.formats import read_volume, write_volume
from ldseg.errors import InputError

STACK = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)


def test_pages_are_slices_or_frames_when_asked(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack")
    assert read_volume(tmp_path / "a.tif", "image").axes == "zyx"
    cine = read_volume(tmp_path / "a.tif", "image", "tyx")
    assert cine.axes == "tyx"
    np.testing.assert_array_equal(cine.array[0], STACK)
    with pytest.raises(InputError, match="3 pages"):
        read_volume(tmp_path / "a.tif", "image", "yx")


def test_frames_are_frames_where_imagej_says_so(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "TYX", "finterval": 0.5})
    read = read_volume(tmp_path / "a.tif", "image")
    assert read.axes == "tyx"
    assert read.spacing == (0.5, 1.0, 1.0)


def test_spacing_comes_from_imagej_in_millimetres(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "spacing": 3.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(2.0, 4.0), metadata=metadata)
    np.testing.assert_allclose(read_volume(tmp_path / "a.tif", "image").spacing, (3e-3, 0.25e-3, 0.5e-3))


def test_spacing_comes_from_ome(tmp_path: Path) -> None:
    metadata = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK[0], metadata=metadata)
    np.testing.assert_allclose(read_volume(tmp_path / "a.ome.tif", "image").spacing, (0.5e-3, 0.25e-3))


def test_a_printers_resolution_is_no_spacing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], resolution=(300, 300), resolutionunit="INCH")
    assert read_volume(tmp_path / "a.tif", "image").spacing == (1.0, 1.0)


def test_a_written_spacing_comes_back_bit_for_bit(tmp_path: Path) -> None:
    given = replace(plain("zyx"), spacing=(1 / 3, 0.1 + 0.2, 1e-4 / 7))
    write_volume(tmp_path / "a.tif", given)
    assert read_volume(tmp_path / "a.tif", "labels").spacing == given.spacing


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_are_channels(planar: str, tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    stored = colours if planar == "contig" else np.moveaxis(colours, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif", "image").array, np.moveaxis(colours, -1, 0))


def test_opaque_alpha_is_dropped(tmp_path: Path) -> None:
    colours = np.full((4, 5, 4), 255, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", extrasamples=["unassalpha"])
    assert read_volume(tmp_path / "a.tif", "image").array.shape == (3, 4, 5)


def test_a_palette_is_indices_for_masks_and_colours_for_images(tmp_path: Path) -> None:
    image = Image.fromarray(STACK[0] % 3, mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [9] * (253 * 3))
    image.save(tmp_path / "a.tif")
    assert read_volume(tmp_path / "a.tif", "labels").array.tolist() == [(STACK[0] % 3).tolist()]
    assert read_volume(tmp_path / "a.tif", "image").array[:, 0, 1].tolist() == [255, 0, 0]


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", None])
def test_common_compressions_can_be_read(compression: str | None, tmp_path: Path) -> None:
    pages = [Image.fromarray(page) for page in STACK]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression=compression)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif", "labels").array[0], STACK)


def test_two_stack_axes_are_refused(tmp_path: Path) -> None:
    metadata = {"axes": "TZYX"}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([STACK, STACK]), imagej=True, metadata=metadata)
    with pytest.raises(InputError, match="TZYX"):
        read_volume(tmp_path / "a.tif", "image")
