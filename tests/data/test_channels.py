"""Numbered files: channels of one image, or images of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from volume_builders import mask, save_image, save_volume, volume

from ldseg.data.dataset import find_inputs, load_input, open_dataset
from ldseg.errors import InputError


def tiles(folder: Path, count: int, mode: str = "L", name: str = "tile") -> Path:
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (6, 8), dtype=np.uint8)
        save_image(folder / f"{name}_{number:04d}.png", np.asarray(Image.fromarray(pixels).convert(mode)))
    return folder


def found(folder: Path, channels: int = 3, channel_files: bool | None = False) -> list[str]:
    return [case.name for case in find_inputs([folder], channels, "yx", channel_files)]


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_model_of_colour_images_takes_each_tile_by_itself(mode: str, count: int, tmp_path: Path) -> None:
    names = [f"tile_{number:04d}" for number in range(count)]
    assert found(tiles(tmp_path, count, mode)) == names
    assert [case.name for case in find_inputs(sorted(tmp_path.iterdir()), 3, "yx", False)] == names


def test_a_guess_is_said_with_the_case_and_with_the_volume(tmp_path: Path) -> None:
    cases = find_inputs([tiles(tmp_path, 3)], 3, "yx", False)
    assert len({case.notes for case in cases}) == 1
    assert "an image of its own" in cases[0].notes[0]
    assert load_input(cases[0], 3, "yx").notes == cases[0].notes


def test_colour_files_are_no_channels_even_for_a_model_of_channel_files(tmp_path: Path) -> None:
    assert found(tiles(tmp_path, 3, "RGB"), 3, True) == ["tile_0000", "tile_0001", "tile_0002"]


def test_a_model_of_channel_files_merges_grey_images(tmp_path: Path) -> None:
    (case,) = find_inputs([tiles(tmp_path, 3)], 3, "yx", True)
    assert (case.name, len(case.images), case.notes) == ("tile", 3, ())


def test_where_nobody_knows_a_complete_set_is_merged_and_it_is_said(tmp_path: Path) -> None:
    (case,) = find_inputs([tiles(tmp_path / "three", 3)], 3, "yx")
    assert len(case.images) == 3
    assert "are read as its channels" in case.notes[0]
    assert found(tiles(tmp_path / "two", 2), 3, None) == ["tile_0000", "tile_0001"]


def test_grey_images_for_a_model_of_two_channels_can_only_be_channels(tmp_path: Path) -> None:
    (case,) = find_inputs([tiles(tmp_path, 2)], 2, "yx", False)
    assert len(case.images) == 2


def test_one_image_keeps_its_number(tmp_path: Path) -> None:
    assert found(tiles(tmp_path, 1), 1, None) == ["tile_0000"]
    assert found(tiles(tmp_path, 1), 1, True) == ["tile"]


def test_the_folders_of_nnunet_have_its_meaning(tmp_path: Path) -> None:
    assert found(tiles(tmp_path / "imagesTs", 1, "RGB"), 3, None) == ["tile"]


def test_volumes_have_the_meaning_of_nnunet(tmp_path: Path) -> None:
    save_volume(tmp_path / "a_0000.nii.gz", volume("zyx", "image"))
    for known in (None, True, False):
        assert [case.name for case in find_inputs([tmp_path], 1, "zyx", known)] == ["a"]


def test_volumes_of_several_channels_are_no_channels(tmp_path: Path) -> None:
    for number in range(2):
        save_volume(tmp_path / f"a_000{number}.nii.gz", volume("zyx", "image", channels=2))
    assert [case.name for case in find_inputs([tmp_path], 2, "zyx")] == ["a_0000", "a_0001"]


def test_numbered_colour_images_with_one_mask_are_no_image_of_channels(tmp_path: Path) -> None:
    tiles(tmp_path / "images", 3, "RGB")
    mask(tmp_path / "masks/tile.png")
    with pytest.raises(InputError, match=r"tile_0000\.png: has no mask of its name \(3 in all\)"):
        open_dataset(tmp_path)


def test_frames_with_masks_of_raters_are_not_merged(tmp_path: Path) -> None:
    tiles(tmp_path / "images", 2)
    for number in range(2):
        for rater in (1, 2):
            mask(tmp_path / f"masks/tile_000{number}_rater{rater}.png")
    dataset = open_dataset(tmp_path)
    assert [case.name for case in dataset.cases] == ["tile_0000", "tile_0001"]
    assert not dataset.channel_files


def test_a_set_without_masks_is_grouped_for_the_model(tmp_path: Path) -> None:
    tiles(tmp_path / "images", 3)
    (tmp_path / "masks").mkdir()
    assert found(tmp_path) == ["tile_0000", "tile_0001", "tile_0002"]


def test_a_set_knows_whether_its_channels_are_files(tmp_path: Path) -> None:
    for number in range(2):
        save_image(tmp_path / f"two/images/a_000{number}.png")
    mask(tmp_path / "two/masks/a.png")
    save_image(tmp_path / "one/imagesTr/a_0000.png")
    mask(tmp_path / "one/labelsTr/a.png")
    save_image(tmp_path / "plain/images/a.png")
    mask(tmp_path / "plain/masks/a.png")
    known = {name: open_dataset(tmp_path / name).channel_files for name in ("two", "one", "plain")}
    assert known == {"two": True, "one": True, "plain": False}
