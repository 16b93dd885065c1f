"""PNG, BMP, JPEG: palettes, alpha, depth, colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from volume_builders import picture, plain

from ldseg.data.formats import read_volume, write_volume
from ldseg.errors import InputError

IDS = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)


def palette(path: Path) -> Path:
    image = Image.fromarray(IDS, mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [9] * (253 * 3))
    image.save(path)
    return path


def test_a_palette_mask_is_read_by_index(tmp_path: Path) -> None:
    assert read_volume(palette(tmp_path / "a.png"), "labels").array.tolist() == [IDS.tolist()]


def test_a_palette_image_is_read_by_colour(tmp_path: Path) -> None:
    read = read_volume(palette(tmp_path / "a.png"), "image")
    assert read.array[:, 0, 1].tolist() == [255, 0, 0]
    assert read.array[:, 0, 2].tolist() == [0, 255, 0]


def test_a_palette_bmp_mask_is_read_by_index(tmp_path: Path) -> None:
    assert read_volume(palette(tmp_path / "a.bmp"), "labels").array.tolist() == [IDS.tolist()]


def test_a_grey_mask_saved_in_colour_is_grey(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", np.stack([IDS] * 3, axis=-1))
    assert read_volume(path, "labels").array.tolist() == [IDS.tolist()]


def test_a_colour_mask_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", np.stack([IDS, IDS, IDS * 0], axis=-1))
    with pytest.raises(InputError, match=r"different channels.*palette"):
        read_volume(path, "labels")


def test_opaque_alpha_is_dropped_and_real_transparency_refused(tmp_path: Path) -> None:
    colours = np.dstack([IDS, IDS + 1, IDS + 2, np.full_like(IDS, 255)])
    read = read_volume(picture(tmp_path / "a.png", colours), "image")
    np.testing.assert_array_equal(read.array, np.moveaxis(colours[..., :3], -1, 0))
    colours[0, 0, 3] = 254
    with pytest.raises(InputError, match="1 pixels are transparent"):
        read_volume(picture(tmp_path / "b.png", colours), "image")


def test_grey_with_opaque_alpha_is_one_channel(tmp_path: Path) -> None:
    Image.fromarray(IDS).convert("LA").save(tmp_path / "a.png")
    assert read_volume(tmp_path / "a.png", "image").array.tolist() == [IDS.tolist()]


def test_sixteen_bits_of_grey_are_kept(tmp_path: Path) -> None:
    deep = np.array([[0, 1000, 65535]], dtype=np.uint16)
    assert read_volume(picture(tmp_path / "a.png", deep), "image").array.tolist() == [deep.tolist()]
    assert read_volume(tmp_path / "a.png", "labels").array.dtype == np.uint16


def test_one_bit_masks_are_zero_and_one(tmp_path: Path) -> None:
    Image.fromarray(IDS > 0).save(tmp_path / "a.png")
    assert read_volume(tmp_path / "a.png", "labels").array.tolist() == [(IDS > 0).astype(int).tolist()]


def test_an_exif_rotation_does_not_turn_the_grid(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    assert read_volume(tmp_path / "a.jpg", "image").shape == (6, 8)


def test_cmyk_jpeg_is_colour(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 6)).save(tmp_path / "a.jpg")
    assert read_volume(tmp_path / "a.jpg", "image").array.shape == (3, 6, 8)


def test_nothing_is_written_as_jpeg(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lossy"):
        write_volume(tmp_path / "a.jpg", plain("yx"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, value", [("a.bmp", 300), ("a.png", 70000), ("a.png", -1), ("a.png", 0.5)])
def test_values_that_do_not_fit_are_refused(name: str, value: float, tmp_path: Path) -> None:
    given = plain("yx", "image")
    given.array[0, 0, 0] = value
    with pytest.raises(InputError, match=rf"{name}.*whole numbers"):
        write_volume(tmp_path / name, given)


def test_a_volume_does_not_fit_into_a_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot hold zyx"):
        write_volume(tmp_path / "a.png", plain("zyx"))
    picture(tmp_path / "b.png")
    with pytest.raises(InputError, match="2D format"):
        read_volume(tmp_path / "b.png", "image", "zyx")


def test_colour_images_come_back(tmp_path: Path) -> None:
    given = plain("yx", "image", channels=3)
    write_volume(tmp_path / "a.png", given)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.png", "image").array, given.array)
