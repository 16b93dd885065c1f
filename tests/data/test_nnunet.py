"""Folders of nnU-Net v2: fields of dataset.json, spacings beside images, its splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from volume_builders import mask, save_image, save_volume, volume, write_json

from ldseg.data.dataset import find_inputs, load_image, open_dataset
from ldseg.data.splits import read_splits
from ldseg.errors import InputError


def nnunet(root: Path, names: tuple[str, ...] = ("a", "b"), **fields: Any) -> Path:
    for name in names:
        save_volume(root / f"imagesTr/{name}_0000.nii.gz", volume("zyx", "image"))
        save_volume(root / f"labelsTr/{name}.nii.gz", volume("zyx"))
    content = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "x": 1, "y": 2, "z": 3}}
    write_json(root / "dataset.json", content | fields)
    return root


def stacks(root: Path, spacing: object = (7.6, 1, 2), channels: int = 1) -> Path:
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(channels):
        tifffile.imwrite(
            root / f"imagesTr/a_000{number}.tif", np.arange(120, dtype=np.uint8).reshape(6, 4, 5)
        )
    tifffile.imwrite(root / "labelsTr/a.tif", np.ones((6, 4, 5), np.uint8))
    write_json(root / "imagesTr/a.json", {"spacing": spacing})
    return root


def test_the_spacing_beside_a_tiff_is_that_of_the_image(tmp_path: Path) -> None:
    dataset = open_dataset(stacks(tmp_path))
    image = load_image(dataset, dataset.cases[0])
    assert image.spacing == (7.6, 1.0, 2.0)
    assert image.physical
    (case,) = find_inputs([tmp_path / "imagesTr"], 1, "zyx")
    assert case.spacing == (7.6, 1.0, 2.0)


def test_an_image_has_the_last_two_of_three_spacings_of_nnunet(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    write_json(tmp_path / "a.json", {"spacing": [999, 0.5, 0.25]})
    (case,) = find_inputs([tmp_path], 1, "yx")
    assert case.spacing == (0.5, 0.25)


@pytest.mark.parametrize("entry", [[7.6, 1, 0], [1, "x", 1], "wide", [], [1, 1, 1, 1], [True, 1, 1]])
def test_a_damaged_spacing_is_refused_with_its_file(entry: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'a\.json: "spacing" is .*; write mm'):
        open_dataset(stacks(tmp_path, entry))


def test_channels_of_different_spacings_are_refused(tmp_path: Path) -> None:
    stacks(tmp_path, channels=2)
    write_json(tmp_path / "imagesTr/a_0001.json", {"spacing": [5, 1, 2]})
    with pytest.raises(
        InputError, match=r"a_0001\.tif: has the spacing 5 x 1 x 2 .* a_0000\.tif has 7.6 x 1 x 2"
    ):
        open_dataset(tmp_path)


def test_a_mask_of_another_spacing_is_refused(tmp_path: Path) -> None:
    stacks(tmp_path)
    write_json(tmp_path / "labelsTr/a.json", {"spacing": [1, 1, 2]})
    with pytest.raises(InputError, match=r"labelsTr/a\.tif: has the spacing 1 x 1 x 2"):
        open_dataset(tmp_path)


def test_other_json_beside_an_image_is_none_of_ours(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    write_json(tmp_path / "a.json", {"shapes": []})
    (case,) = find_inputs([tmp_path], 1, "yx")
    assert case.spacing is None


def test_ids_in_lists_of_one_are_ids(tmp_path: Path) -> None:
    labels = {"background": 0, "x": [1], "y": [2], "ignore": 3}
    dataset = open_dataset(nnunet(tmp_path, labels=labels))
    assert dataset.classes == {"background": 0, "x": 1, "y": 2}
    assert dataset.ignore_id == 3


def test_regions_are_refused_by_name(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2], "post": [2]}
    with pytest.raises(InputError, match=r"has the region 'whole' of the ids .*; list every id once"):
        open_dataset(nnunet(tmp_path, labels=labels))


def test_the_key_dataset_lists_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANS", "img")
    save_volume(tmp_path / "img/p_0000.nii.gz", volume("zyx", "image"))
    save_volume(tmp_path / "gt/q.nii.gz", volume("zyx"))
    entry = {"images": ["$SCANS/p_0000.nii.gz"], "label": str(tmp_path / "gt/q.nii.gz")}
    write_json(tmp_path / "dataset.json", {"dataset": {"case": entry}})
    (case,) = open_dataset(tmp_path).cases
    assert (case.name, case.images[0].name, case.labels[0].name) == ("case", "p_0000.nii.gz", "q.nii.gz")
    assert [case.name for case in find_inputs([tmp_path], 1)] == ["case"]


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"images": ["none.nii.gz"], "label": "gt.nii.gz"}, r"none\.nii\.gz: is listed in dataset\.json"),
        ({"images": "img.nii.gz"}, '"dataset" has .* for case a; write'),
        ({"images": [7]}, '"dataset" has 7 where a file should be'),
        ({"images": ["i.nii.gz", "i.nii.gz"]}, "lists 2 images for case a, but names 1 channels"),
    ],
)
def test_a_damaged_key_dataset_is_refused(entry: Any, message: str, tmp_path: Path) -> None:
    save_volume(tmp_path / "i.nii.gz", volume("zyx", "image"))
    cases = {"ok": {"images": ["i.nii.gz"]}, "a": entry}
    write_json(tmp_path / "dataset.json", {"dataset": cases, "channel_names": ["MRI"]})
    with pytest.raises(InputError, match=message):
        open_dataset(tmp_path)


def test_a_missing_suffix_is_named_though_the_name_ends_in_four_digits(tmp_path: Path) -> None:
    for number in (1, 2):
        save_volume(tmp_path / f"imagesTr/pat_000{number}.nii.gz", volume("zyx", "image"))
        save_volume(tmp_path / f"labelsTr/pat_000{number}.nii.gz", volume("zyx"))
    with pytest.raises(
        InputError, match=r"pat_0001\.nii\.gz: has no channel suffix _0000 \(2 files\); rename it"
    ):
        open_dataset(tmp_path)


def test_files_of_another_ending_are_passed_over_with_a_remark(tmp_path: Path) -> None:
    nnunet(tmp_path, file_ending=".nii.gz")
    save_volume(tmp_path / "imagesTr/c_0000.mha", volume("zyx", "image"))
    dataset = open_dataset(tmp_path)
    assert [case.name for case in dataset.cases] == ["a", "b"]
    assert any("c_0000.mha" in remark and "another ending" in remark for remark in dataset.remarks)


def test_a_wrong_file_ending_is_told_and_the_files_are_read(tmp_path: Path) -> None:
    dataset = open_dataset(nnunet(tmp_path, file_ending="png"))
    assert len(dataset.cases) == 2
    assert any('"file_ending": ".png", but every image is .nii.gz' in remark for remark in dataset.remarks)


def test_an_ending_that_is_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\"file_ending\" is '\.npy', which is not read"):
        open_dataset(nnunet(tmp_path, file_ending=".npy"))


def test_a_wrong_number_of_cases_and_an_unknown_reader_are_told(tmp_path: Path) -> None:
    dataset = open_dataset(nnunet(tmp_path, numTraining=5, overwrite_image_reader_writer="MyReader"))
    assert any('"numTraining": 5, but there are 2' in remark for remark in dataset.remarks)
    assert any("MyReader" in remark for remark in dataset.remarks)
    assert open_dataset(nnunet(tmp_path, numTraining=2)).remarks == ()


def test_images_to_test_on_may_be_named_wrongly_for_training_only(tmp_path: Path) -> None:
    save_image(nnunet(tmp_path) / "imagesTs/c.png")
    assert any("imagesTs/c.png" in remark for remark in open_dataset(tmp_path).remarks)
    with pytest.raises(InputError, match=r"imagesTs/c\.png: has no channel suffix"):
        find_inputs([tmp_path], 1)


def test_the_folds_of_nnunet_are_splits_without_a_test_part(tmp_path: Path) -> None:
    folds = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["c", "b"], "val": ["a"]}]
    splits = read_splits(write_json(tmp_path / "splits_final.json", folds))
    assert splits.test == ()
    assert [(fold.train, fold.validation) for fold in splits.folds] == [
        (("a", "b"), ("c",)),
        (("c", "b"), ("a",)),
    ]


@pytest.mark.parametrize(
    "content, message",
    [
        ([], "has no folds"),
        ([{"train": ["a"]}], "not a list of nnU-Net's folds"),
        ([{"train": ["a"], "val": "a"}], "not a list of nnU-Net's folds"),
        ([3], "not a list of nnU-Net's folds"),
        ([{"train": ["a"], "val": ["a"]}], "fold 0 has a in two parts"),
        ([{"train": ["a"], "val": []}], "fold 0 has no case to validate on"),
        ([{"train": [], "val": ["a"]}], "fold 0 has no case to train on"),
    ],
)
def test_damaged_folds_are_refused(content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_splits(write_json(tmp_path / "splits_final.json", content))


def test_masks_may_be_of_another_ending_than_images(tmp_path: Path) -> None:
    save_image(tmp_path / "imagesTr/a_0000.jpg")
    mask(tmp_path / "labelsTr/a.png")
    write_json(tmp_path / "dataset.json", {"file_ending": ".png", "channel_names": ["US"]})
    assert [case.name for case in open_dataset(tmp_path).cases] == ["a"]
