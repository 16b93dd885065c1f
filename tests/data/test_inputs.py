"""Finding the images to predict."""

from __future__ import annotations

from pathlib import Path

import pytest
from volume_builders import mask, save_image, save_volume, volume, write_json

from ldseg.data.dataset import find_inputs, load_input, open_dataset
from ldseg.errors import InputError


def names(paths: list[Path], channels: int = 1) -> list[str]:
    return [case.name for case in find_inputs(paths, channels)]


def test_files_and_folders_can_be_mixed(tmp_path: Path) -> None:
    first = save_image(tmp_path / "ein Bild é.png")
    save_image(tmp_path / "folder/b.png")
    save_image(tmp_path / "folder/a.jpg")
    (tmp_path / "folder/readme.txt").write_text("x")
    assert names([first, tmp_path / "folder"]) == ["a", "b", "ein Bild é"]


def test_channel_files_are_one_image(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(2):
            save_volume(tmp_path / f"{name}_{number:04d}.nii.gz", volume("zyx", "image"))
    cases = find_inputs([tmp_path], 2)
    assert [case.name for case in cases] == ["a", "b"]
    assert load_input(cases[0], 2, "zyx").array.shape[0] == 2
    given = [tmp_path / "b_0001.nii.gz", tmp_path / "b_0000.nii.gz"]
    (case,) = find_inputs(given, 2)
    assert [path.name for path in case.images] == ["b_0000.nii.gz", "b_0001.nii.gz"]


def test_a_segmentation_beside_its_image_is_passed_over_with_a_remark(tmp_path: Path) -> None:
    save_volume(tmp_path / "a.nrrd", volume("zyx", "image"))
    save_volume(tmp_path / "a.seg.nrrd", volume("zyx"))
    remarks: list[str] = []
    cases = find_inputs([tmp_path], 1, on_remark=remarks.append)
    assert [case.images[0].name for case in cases] == ["a.nrrd"]
    assert "a segmentation and no image" in remarks[0]


def test_a_missing_channel_is_named(tmp_path: Path) -> None:
    for number in (0, 1, 2):
        save_image(tmp_path / f"a_000{number}.png")
    for number in (0, 2):
        save_image(tmp_path / f"b_000{number}.png")
    with pytest.raises(InputError, match="case b has no channel _0001"):
        find_inputs([tmp_path], 3)


def test_the_suffix_of_a_single_channel_is_no_part_of_the_name(tmp_path: Path) -> None:
    save_image(tmp_path / "a_0000.png")
    save_image(tmp_path / "b_0000.png")
    assert names([tmp_path], 1) == ["a", "b"]
    assert names([tmp_path], 3) == ["a", "b"]


def test_frames_keep_their_numbers(tmp_path: Path) -> None:
    for number in range(4):
        save_image(tmp_path / f"cine_000{number}.png")
    assert names([tmp_path], 1) == ["cine_0000", "cine_0001", "cine_0002", "cine_0003"]


def test_a_folder_of_mixed_names_has_no_suffixes(tmp_path: Path) -> None:
    save_image(tmp_path / "a_0000.png")
    save_image(tmp_path / "b.png")
    assert names([tmp_path], 1) == ["a_0000", "b"]


def test_a_data_set_gives_its_images_labelled_or_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_volume(tmp_path / f"imagesTr/{name}_0000.nii.gz", volume("zyx", "image"))
    save_volume(tmp_path / "labelsTr/a.nii.gz", volume("zyx"))
    save_volume(tmp_path / "imagesTs/c_0000.nii.gz", volume("zyx", "image"))
    write_json(tmp_path / "dataset.json", {"channel_names": {"0": "CT"}, "labels": {"background": 0}})
    assert names([tmp_path]) == ["a", "b", "c"]
    assert names([tmp_path / "imagesTs"]) == ["c"]


def test_masks_are_not_predicted(tmp_path: Path) -> None:
    save_image(tmp_path / "train_1.bmp")
    mask(tmp_path / "train_1_anno.bmp")
    assert names([tmp_path]) == ["train_1"]


def test_spacings_are_found_beside_and_above_the_folder(tmp_path: Path) -> None:
    save_image(tmp_path / "images/a.png")
    (tmp_path / "pixel_size_mm.csv").write_text("filename,mm\na.png,0.3\n")
    for path in (tmp_path / "images", tmp_path / "images/a.png"):
        (case,) = find_inputs([path], 1, "yx")
        assert case.spacing == (0.3, 0.3)
        assert load_input(case, 1, "yx").spacing == (0.3, 0.3)


def test_a_list_gives_its_images_the_spacing_that_training_read(tmp_path: Path) -> None:
    save_image(tmp_path / "deep/er/a.png")
    save_image(tmp_path / "deep/er/b.png")
    mask(tmp_path / "m.png")
    (tmp_path / "spacing.csv").write_text("filename,mm\nb.png,0.7\n")
    table = tmp_path / "cases.csv"
    table.write_text("image,label,spacing\ndeep/er/a.png,m.png,0.3\ndeep/er/b.png,m.png,\n")
    trained = [case.spacing for case in open_dataset(tmp_path).cases]
    assert trained == [(0.3, 0.3), (0.7, 0.7)]
    for path in (tmp_path, table):
        assert [case.spacing for case in find_inputs([path], 1, "yx")] == trained


def test_one_channel_of_several_is_told_how_channel_files_are_named(tmp_path: Path) -> None:
    (case,) = find_inputs([save_volume(tmp_path / "t1.nii.gz", volume("zyx", "image"))], 2, "zyx")
    with pytest.raises(InputError, match="has 1 channels where 2 are expected; name its channel files"):
        load_input(case, 2, "zyx")


def test_the_same_input_twice_is_one_case(tmp_path: Path) -> None:
    path = save_image(tmp_path / "a.png")
    assert names([path, path, tmp_path, tmp_path / "../" / tmp_path.name]) == ["a"]


def test_two_inputs_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [save_image(tmp_path / "x/a.png"), save_image(tmp_path / "y/a.png")]
    with pytest.raises(InputError, match="a"):
        find_inputs(paths, 1)
    with pytest.raises(InputError, match="same name"):
        find_inputs([tmp_path / "x", tmp_path / "y"], 1)


def test_nothing_to_predict_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: has no images.*give a folder with images"):
        find_inputs([tmp_path / "empty"], 1)
    save_image(tmp_path / "outer/inner/a.png")
    with pytest.raises(InputError, match="give one of its sub-folders"):
        find_inputs([tmp_path / "outer"], 1)
    with pytest.raises(InputError, match="no such file or folder"):
        find_inputs([tmp_path / "nowhere"], 1)
    with pytest.raises(InputError, match="no input"):
        find_inputs([], 1)


def test_a_file_of_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(InputError, match=r"a\.docx: is of no known image format"):
        find_inputs([tmp_path / "a.docx"], 1)
