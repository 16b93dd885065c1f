"""The image of a TIFF is the one at full resolution, wherever it is; several images are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from volume_builders import plain

from ldseg.data.formats import read_volume, write_volume
from ldseg.data.formats.tiff import size_of_page
from ldseg.data.formats.tiff_regions import TiffRegions
from ldseg.errors import InputError

FULL = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
SMALL = FULL[::4, ::4].copy()
GREY = FULL[..., 0]


def write(path: Path, *pages: tuple[np.ndarray, dict[str, Any]], **words: Any) -> Path:
    """A TIFF of separate images."""
    with tifffile.TiffWriter(path, **words) as file:
        for array, more in pages:
            colour = "rgb" if array.shape[-1] == 3 else "minisblack"
            file.write(array, **({"photometric": colour, "metadata": None} | more))
    return path


def full_image_is_read(path: Path) -> tuple[str, ...]:
    read = read_volume(path, "image")
    np.testing.assert_array_equal(read.array, FULL.transpose(2, 0, 1))
    assert size_of_page(path) == 120 * 160
    part = TiffRegions(path, 3).read((slice(0, 120), slice(0, 160)))
    np.testing.assert_array_equal(part, read.array)
    return read.notes


REDUCED = {"subfiletype": 1}


@pytest.mark.parametrize("described", [{}, {"metadata": {}}])
def test_a_thumbnail_is_never_taken_wherever_it_is(described: dict[str, Any], tmp_path: Path) -> None:
    full, thumbnail = (FULL, described), (SMALL, REDUCED | described)
    assert full_image_is_read(write(tmp_path / "a.tif", thumbnail, full)) == ()
    assert full_image_is_read(write(tmp_path / "b.tif", full, thumbnail)) == ()
    assert full_image_is_read(write(tmp_path / "c.tif", (SMALL, REDUCED | {"subifds": 1}), (FULL, {}))) == ()
    odd = (FULL[:30, :70], REDUCED | described)  # padded to the shape of a slide
    assert full_image_is_read(write(tmp_path / "d.tif", odd, full, thumbnail)) == ()


def test_a_mask_of_transparency_is_not_the_image(tmp_path: Path) -> None:
    mask = np.ones((120, 160), bool)
    pages = (mask, {"photometric": "mask", "subfiletype": 4}), (FULL, {})
    assert full_image_is_read(write(tmp_path / "a.tif", *pages)) == ()


def test_of_unflagged_copies_the_largest_is_taken_and_said(tmp_path: Path) -> None:
    for pages in (((SMALL, {}), (FULL, {})), ((FULL, {}), (FULL[::2, ::2], {}), (SMALL, {}))):
        (note,) = full_image_is_read(write(tmp_path / "a.tif", *pages))
        assert f"of its {len(pages)} images the largest was read (160 x 120 pixels)" in note


@pytest.mark.parametrize(
    "other", [FULL.copy(), FULL[:, :90], GREY[::4, ::4], FULL.transpose(1, 0, 2)[::4, ::4]]
)
def test_several_images_of_their_own_are_refused(other: np.ndarray, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", (FULL, {"metadata": {}}), (other, {"metadata": {}}))
    for read in (lambda: read_volume(path, "image"), lambda: TiffRegions(path, 3)):
        with pytest.raises(InputError, match=r"has 2 images \(160 x 120, .* a file of its own"):
            read()


def test_several_images_of_ome_are_refused_but_for_those_of_the_slide(tmp_path: Path) -> None:
    first = (GREY, {"metadata": {"axes": "YX", "Name": "a"}})
    second = (GREY, {"metadata": {"axes": "YX", "Name": "b"}})
    path = write(tmp_path / "a.ome.tif", first, second, ome=True)
    with pytest.raises(InputError, match="has 2 images"):
        read_volume(path, "image")
    macro = (SMALL, {"metadata": {"axes": "YXS", "Name": "macro image"}})
    steps = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    slide = (FULL, {"metadata": {"axes": "YXS", "Name": "slide", **steps}})
    path = write(tmp_path / "b.ome.tif", macro, slide, ome=True)
    assert full_image_is_read(path) == ()
    np.testing.assert_allclose(read_volume(path, "image").spacing, (0.25e-3, 0.5e-3))


@pytest.mark.parametrize("ome", [False, True])
def test_of_a_pyramid_the_finest_level_is_read(ome: bool, tmp_path: Path) -> None:
    described = {"metadata": {"axes": "YXS"}} if ome else {}
    pages = [(FULL, {"subifds": 2, **described}), (FULL[::2, ::2], REDUCED), (SMALL, REDUCED)]
    assert full_image_is_read(write(tmp_path / "a.tif", *pages, ome=ome)) == ()


def test_of_a_slide_the_baseline_is_read(tmp_path: Path) -> None:
    words = {"tile": (16, 16), "description": "Aperio Image Library v1.0\n160x120|AppMag = 20"}
    pages = [(FULL, words), (SMALL, {}), (FULL[::2, ::2], {"tile": (16, 16)})]
    label, macro = (FULL[:50, :50], {"subfiletype": 1}), (FULL[:70, :30], {"subfiletype": 9})
    assert full_image_is_read(write(tmp_path / "a.tif", *pages, label, macro)) == ()


def test_planes_that_only_ome_metadata_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.stack([GREY] * 3), metadata={"axes": "ZYX"}, photometric="minisblack")
    content = path.read_bytes().replace(b'SizeZ="3"', b'SizeZ="5"')
    path.write_bytes(content.replace(b'PlaneCount="3"', b'PlaneCount="3"'))
    with pytest.raises(InputError, match="planes that it does not hold; save it whole in one file"):
        read_volume(path, "image")


def test_pages_of_several_palettes_are_refused(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    palettes = [{"photometric": "palette", "colormap": table} for table in (ramp, ramp[:, ::-1].copy())]
    path = write(tmp_path / "a.tif", *[(GREY, more) for more in palettes])
    with pytest.raises(InputError, match=r"pages of several kinds .* a file of its own"):
        read_volume(path, "image")


def test_channels_and_frames_of_a_hyperstack_are_apart(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 999, (4, 2, 15, 21)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TCYX"})
    read = read_volume(tmp_path / "a.tif", "image")
    assert read.axes == "tyx"
    np.testing.assert_array_equal(read.array, stack.transpose(1, 0, 2, 3))


def test_several_pages_for_a_model_of_single_images_name_a_remedy_that_every_command_has(
    tmp_path: Path,
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([FULL] * 3), photometric="rgb")
    with pytest.raises(
        InputError, match=r"has 3 pages where a 2D image is expected; save each page as a file"
    ) as error:
        read_volume(tmp_path / "a.tif", "image", "yx")
    assert "--data" not in str(error.value)


@pytest.mark.parametrize(
    "metadata, physical, spacing",
    [
        ({"unit": "um", "spacing": 3.0}, True, (3e-3, 0.25e-3, 0.5e-3)),
        ({"unit": "um"}, False, (1.0, 1.0, 1.0)),  # no step between slices
        ({"spacing": 3.0}, False, (1.0, 1.0, 1.0)),
        ({"unit": "pixel", "spacing": 3.0}, False, (1.0, 1.0, 1.0)),
    ],
)
def test_a_spacing_is_physical_where_all_of_it_is_known(
    metadata: dict[str, Any], physical: bool, spacing: tuple[float, ...], tmp_path: Path
) -> None:
    words = {"imagej": True, "resolution": (2.0, 4.0), "metadata": {"axes": "ZYX", **metadata}}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY] * 3), **words)
    read = read_volume(tmp_path / "a.tif", "image")
    assert read.physical == physical
    np.testing.assert_allclose(read.spacing, spacing)
    assert any("spacing along z is not known" in note for note in read.notes) == (metadata == {"unit": "um"})


def test_frames_keep_their_time_where_the_spacing_is_not_known(tmp_path: Path) -> None:
    words = {"imagej": True, "metadata": {"axes": "TYX", "finterval": 0.5}}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY] * 3), **words)
    read = read_volume(tmp_path / "a.tif", "image")
    assert (read.physical, read.spacing) == (False, (0.5, 1.0, 1.0))


@pytest.mark.parametrize("axes", ["yx", "zyx", "tyx"])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_written_says_whether_its_spacing_is_physical(
    axes: Any, channels: int, tmp_path: Path
) -> None:
    for physical in (False, True):
        given = replace(plain(axes, "image", channels), physical=physical)
        write_volume(tmp_path / "a.tif", given)
        assert read_volume(tmp_path / "a.tif", "image", axes).physical == physical
        assert (b"PhysicalSize" in (tmp_path / "a.tif").read_bytes()) == physical
