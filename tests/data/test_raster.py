"""PNG, BMP, JPEG: palettes, alpha, depth, colours."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps
from volume_builders import plain, save_image

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
    path = save_image(tmp_path / "a.png", np.stack([IDS] * 3, axis=-1))
    assert read_volume(path, "labels").array.tolist() == [IDS.tolist()]


def test_a_colour_mask_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = save_image(tmp_path / "a.png", np.stack([IDS, IDS, IDS * 0], axis=-1))
    with pytest.raises(InputError, match=r"different channels.*palette"):
        read_volume(path, "labels")


def test_opaque_alpha_is_dropped_and_real_transparency_refused(tmp_path: Path) -> None:
    colours = np.dstack([IDS, IDS + 1, IDS + 2, np.full_like(IDS, 255)])
    read = read_volume(save_image(tmp_path / "a.png", colours), "image")
    np.testing.assert_array_equal(read.array, np.moveaxis(colours[..., :3], -1, 0))
    colours[0, 0, 3] = 254
    with pytest.raises(InputError, match="1 pixels are transparent"):
        read_volume(save_image(tmp_path / "b.png", colours), "image")


def test_grey_with_opaque_alpha_is_one_channel(tmp_path: Path) -> None:
    Image.fromarray(IDS).convert("LA").save(tmp_path / "a.png")
    assert read_volume(tmp_path / "a.png", "image").array.tolist() == [IDS.tolist()]


def test_sixteen_bits_of_grey_are_kept(tmp_path: Path) -> None:
    deep = np.array([[0, 1000, 65535]], dtype=np.uint16)
    assert read_volume(save_image(tmp_path / "a.png", deep), "image").array.tolist() == [deep.tolist()]
    assert read_volume(tmp_path / "a.png", "labels").array.dtype == np.uint16


def test_one_bit_masks_are_zero_and_one(tmp_path: Path) -> None:
    Image.fromarray(IDS > 0).save(tmp_path / "a.png")
    assert read_volume(tmp_path / "a.png", "labels").array.tolist() == [(IDS > 0).astype(int).tolist()]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", [".png", ".jpg"])
def test_the_orientation_in_exif_is_applied_to_images_and_masks(
    form: str, orientation: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8) // 8 * 40)
    stored.save(tmp_path / f"a{form}", exif=exif)
    with Image.open(tmp_path / f"a{form}") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    for kind in ("image", "labels"):
        read = read_volume(tmp_path / f"a{form}", kind)
        np.testing.assert_array_equal(read.array[0], expected)
        assert any("Orientation" in note for note in read.notes) == (orientation != 1)


def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    save_image(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    damaged = b"Exif\0\0II*\0\xff\xff\xff\x7f"
    block = b"\xff\xe1" + (len(damaged) + 2).to_bytes(2, "big") + damaged
    (tmp_path / "b.jpg").write_bytes(content[:2] + block + content[2:])
    assert read_volume(tmp_path / "b.jpg", "image").shape == (6, 8)


@pytest.mark.parametrize("ink, shown", [((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))])
def test_cmyk_jpeg_is_colour(ink: tuple[int, ...], shown: tuple[int, ...], tmp_path: Path) -> None:
    Image.new("CMYK", (8, 6), ink).save(tmp_path / "a.jpg", quality=100)
    read = read_volume(tmp_path / "a.jpg", "image")
    assert np.abs(read.array[:, 2, 2] - shown).max() < 4
    assert "colour profile" in read.notes[0]


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bits_of_colour_are_kept(channels: int, tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65535, (6, 8, channels)).astype(np.uint16)
    if channels != 3:
        deep[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep))
    read = read_volume(tmp_path / "a.png", "image")
    colours = deep if channels == 3 else deep[..., :-1]
    np.testing.assert_array_equal(read.array, np.moveaxis(colours, -1, 0))
    assert read.stored == "uint16"


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 6), value) for value in (10, 20, 30)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"animation of 3 images; save each one as a file of its own"):
        read_volume(tmp_path / "a.png", "image")


def test_of_the_images_in_a_jpeg_of_several_the_first_is_read_and_said(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 6), value) for value in (10, 20)]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    read = read_volume(tmp_path / "a.jpg", "image")
    assert read.array.max() == 10
    assert read.notes == ("of its 2 images the first was read, which viewers show",)


@pytest.mark.parametrize("mode, key", [("L", 7), ("RGB", (7, 7, 7)), ("I;16", 7)])
def test_a_colour_that_is_declared_transparent_is_transparency(
    mode: str, key: object, tmp_path: Path
) -> None:
    pixels = np.zeros((6, 8, 3) if mode == "RGB" else (6, 8), np.uint16 if mode == "I;16" else np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=key)
    assert read_volume(tmp_path / "a.png", "image").array.max() == 0
    pixels[2, 3:5] = 7
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=key)
    with pytest.raises(InputError, match="2 pixels are transparent"):
        read_volume(tmp_path / "a.png", "image")


def test_a_transparent_palette_is_refused_in_images_and_indices_in_masks(tmp_path: Path) -> None:
    image = Image.fromarray(IDS, mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "a.png", transparency=2)
    with pytest.raises(InputError, match="2 pixels are transparent"):
        read_volume(tmp_path / "a.png", "image")
    assert read_volume(tmp_path / "a.png", "labels").array.tolist() == [IDS.tolist()]


def test_images_have_no_physical_spacing(tmp_path: Path) -> None:
    assert not read_volume(save_image(tmp_path / "a.png"), "image").physical


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


def test_a_volume_does_not_fit_into_an_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot hold zyx"):
        write_volume(tmp_path / "a.png", plain("zyx"))
    save_image(tmp_path / "b.png")
    with pytest.raises(InputError, match="2D image"):
        read_volume(tmp_path / "b.png", "image", "zyx")


def test_colour_images_come_back(tmp_path: Path) -> None:
    given = plain("yx", "image", channels=3)
    write_volume(tmp_path / "a.png", given)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.png", "image").array, given.array)
