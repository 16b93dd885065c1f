"""Each layout on files made here: what it finds, and how it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from volume_builders import mask, save_image, save_volume, volume, write_json

from ldseg.data.dataset import DataOptions, DataSet, open_dataset
from ldseg.data.layouts import LAYOUTS, find_layout
from ldseg.errors import InputError


def nnunet(root: Path, names: tuple[str, ...] = ("a", "b"), channels: int = 2) -> Path:
    for name in names:
        for number in range(channels):
            save_volume(root / f"imagesTr/{name}_{number:04d}.nii.gz", volume("zyx", "image"))
        save_volume(root / f"labelsTr/{name}.nii.gz", volume("zyx"))
    content = {
        "channel_names": {str(n): f"T{n}" for n in range(channels)},
        "labels": {"background": 0, "liver": 1, "spleen": 2, "ignore": 3},
        "file_ending": ".nii.gz",
    }
    write_json(root / "dataset.json", content)
    return root


def decathlon(root: Path) -> Path:
    pairs = []
    for name in ("a", "b"):
        save_volume(root / f"imagesTr/{name}.nii.gz", volume("zyx", "image", channels=2))
        save_volume(root / f"labelsTr/{name}.nii.gz", volume("zyx"))
        pairs.append({"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"})
    content = {
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "edema", "2": "core", "3": "rest"},
        "training": pairs,
        "test": ["./imagesTs/c.nii.gz"],
    }
    write_json(root / "dataset.json", content)
    return root


def two_folders(root: Path, labels: str = "labels") -> Path:
    for name in ("a", "b"):
        save_image(root / f"images/{name}.png")
        mask(root / f"{labels}/{name}.png")
    return root


def glas(root: Path) -> Path:
    for name in ("train_1", "train_2"):
        save_image(root / f"{name}.bmp")
        mask(root / f"{name}_anno.bmp")
    return root


def pairs(root: Path) -> Path:
    save_image(root / "scans/x 1.png")
    save_image(root / "scans/y.png")
    mask(root / "truth/one.png")
    mask(root / "truth/two.png")
    rows = [
        "image,label,name,subject,spacing",
        "scans/x 1.png,truth/one.png,a,s1,0.5",
        "scans/y.png,truth/two.png,b,s1,2 3",
    ]
    (root / "cases.csv").write_text("\n".join(rows), encoding="utf-8")
    return root


def case_folders(root: Path) -> Path:
    for name in ("training/1", "testing/1"):
        save_image(root / name / "image_9.png")
        for rater in (0, 1, 10):
            mask(root / name / f"label{rater}_.png")
    return root


BUILDERS = {
    "nnunet": nnunet,
    "decathlon": decathlon,
    "two_folders": two_folders,
    "glas": glas,
    "pairs": pairs,
    "case_folders": case_folders,
}


def names(dataset: DataSet) -> list[str]:
    return [case.name for case in dataset.cases]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_and_pairs_images_with_masks(layout: str, tmp_path: Path) -> None:
    root = BUILDERS[layout](tmp_path / "mein Datensatz ü")
    found = find_layout(root)
    assert found is not None
    assert found.name == layout
    dataset = open_dataset(root)
    assert dataset.layout == layout
    assert len(dataset.cases) == 2
    for case in dataset.cases:
        assert case.images
        assert case.labels
        assert all(path.is_file() for path in (*case.images, *case.labels))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hidden_and_other_files_are_passed_over(layout: str, tmp_path: Path) -> None:
    root = BUILDERS[layout](tmp_path)
    for folder in [root, *[path for path in root.rglob("*") if path.is_dir()]]:
        (folder / "._a.nii.gz").write_bytes(b"mac")
        (folder / "Thumbs.db").write_bytes(b"win")
        (folder / "notes.txt").write_text("hello")
    assert len(open_dataset(root).cases) == 2


def test_nnunet_declares_channels_classes_and_ignore_id(tmp_path: Path) -> None:
    dataset = open_dataset(nnunet(tmp_path))
    assert names(dataset) == ["a", "b"]
    assert dataset.channel_names == ("T0", "T1")
    assert dataset.classes == {"background": 0, "liver": 1, "spleen": 2}
    assert dataset.ignore_id == 3
    assert (dataset.axes, dataset.file_ending) == ("zyx", ".nii.gz")
    assert [path.name for path in dataset.cases[0].images] == ["a_0000.nii.gz", "a_0001.nii.gz"]


def test_nnunet_refuses_a_missing_channel(tmp_path: Path) -> None:
    nnunet(tmp_path)
    (tmp_path / "imagesTr/b_0000.nii.gz").unlink()
    with pytest.raises(InputError, match="case b has no channel _0000"):
        open_dataset(tmp_path)


def test_nnunet_refuses_an_image_without_channel_suffix(tmp_path: Path) -> None:
    nnunet(tmp_path)
    save_volume(tmp_path / "imagesTr/c.nii.gz", volume("zyx", "image"))
    with pytest.raises(InputError, match=r"c\.nii\.gz.*_0000"):
        open_dataset(tmp_path)


def test_nnunet_refuses_too_many_channels(tmp_path: Path) -> None:
    nnunet(tmp_path)
    save_volume(tmp_path / "imagesTr/a_0002.nii.gz", volume("zyx", "image"))
    with pytest.raises(InputError, match="case a has 3 channel files where 2"):
        open_dataset(tmp_path)


def test_nnunet_without_a_description_takes_ids_from_the_masks(tmp_path: Path) -> None:
    (nnunet(tmp_path) / "dataset.json").unlink()
    dataset = open_dataset(tmp_path)
    assert dataset.classes == {"background": 0, "class_1": 1, "class_2": 2, "class_3": 3}
    assert dataset.channel_names == ("channel_0", "channel_1")


def test_decathlon_reads_channels_from_4d_files(tmp_path: Path) -> None:
    dataset = open_dataset(decathlon(tmp_path))
    assert dataset.channel_names == ("FLAIR", "T1w")
    assert dataset.classes == {"background": 0, "edema": 1, "core": 2, "rest": 3}
    assert len(dataset.cases[0].images) == 1


def test_decathlon_finds_the_files_of_nnunet_v1(tmp_path: Path) -> None:
    decathlon(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"imagesTr/{name}.nii.gz").unlink()
        for number in range(2):
            save_volume(tmp_path / f"imagesTr/{name}_{number:04d}.nii.gz", volume("zyx", "image"))
    assert [len(case.images) for case in open_dataset(tmp_path).cases] == [2, 2]


def test_decathlon_names_a_listed_file_that_is_missing(tmp_path: Path) -> None:
    decathlon(tmp_path)
    (tmp_path / "labelsTr/b.nii.gz").unlink()
    with pytest.raises(InputError, match=r"b\.nii\.gz: is listed in dataset\.json but is not there"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("folder", ["labels", "masks", "Masks"])
def test_two_folders_are_found_by_their_usual_names(folder: str, tmp_path: Path) -> None:
    assert names(open_dataset(two_folders(tmp_path, folder))) == ["a", "b"]


def test_two_folders_with_raters(tmp_path: Path) -> None:
    for rater in (1, 2, 10):
        mask(tmp_path / f"labels/a_rater{rater}.png")
    save_image(tmp_path / "images/a.png")
    (case,) = open_dataset(tmp_path).cases
    assert [path.name for path in case.labels] == ["a_rater1.png", "a_rater2.png", "a_rater10.png"]


def test_two_folders_with_channel_files(tmp_path: Path) -> None:
    for number in range(2):
        save_image(tmp_path / f"images/a_000{number}.png")
    mask(tmp_path / "labels/a.png")
    (case,) = open_dataset(tmp_path).cases
    assert [path.name for path in case.images] == ["a_0000.png", "a_0001.png"]


def test_frames_of_a_cine_are_not_taken_for_channels(tmp_path: Path) -> None:
    for number in range(3):
        save_image(tmp_path / f"images/cine_000{number}.png")
        mask(tmp_path / f"labels/cine_000{number}.png")
    assert names(open_dataset(tmp_path)) == ["cine_0000", "cine_0001", "cine_0002"]


def test_two_folders_honour_a_description(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_volume(tmp_path / f"images/{name}.nii.gz", volume("tyx", "image"))
        save_volume(tmp_path / f"labels/{name}.nii.gz", volume("tyx"))
    content = {
        "labels": {"background": 0, "cavity": 1},
        "channel_names": ["cine"],
        "ignore_id": 3,
        "axes": "tyx",
    }
    write_json(tmp_path / "dataset.json", content)
    dataset = open_dataset(tmp_path)
    assert (dataset.axes, dataset.ignore_id, dataset.channel_names) == ("tyx", 3, ("cine",))
    assert dataset.classes == {"background": 0, "cavity": 1}
    assert dataset.declared


def test_labels_and_masks_together_are_ambiguous(tmp_path: Path) -> None:
    two_folders(tmp_path)
    mask(tmp_path / "masks/a.png")
    with pytest.raises(InputError, match="2 folders named"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "removed, unpaired", [("labels/a.png", "images/a.png"), ("images/a.png", "labels/a.png")]
)
def test_a_missing_partner_is_named(removed: str, unpaired: str, tmp_path: Path) -> None:
    two_folders(tmp_path)
    (tmp_path / removed).unlink()
    with pytest.raises(InputError, match=rf"{unpaired}: has no .* of its name; add the"):
        open_dataset(tmp_path)


def test_a_set_without_masks_is_refused_for_training(tmp_path: Path) -> None:
    for path in (two_folders(tmp_path) / "labels").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"has no mask of its name \(2 in all\)"):
        open_dataset(tmp_path)


def test_two_files_of_one_case_are_refused(tmp_path: Path) -> None:
    two_folders(tmp_path)
    save_image(tmp_path / "images/a.bmp")
    with pytest.raises(InputError, match="second file of case a"):
        open_dataset(tmp_path)


def test_masks_of_raters_beside_a_plain_mask_are_refused(tmp_path: Path) -> None:
    two_folders(tmp_path)
    mask(tmp_path / "labels/a_rater1.png")
    with pytest.raises(InputError, match="case a has both"):
        open_dataset(tmp_path)


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    with pytest.raises(InputError, match="has no images"):
        open_dataset(tmp_path)


def test_an_unknown_folder_is_refused_with_the_known_layouts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no data set of a known layout.*images/ and labels/"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match="there is no such folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"data\.layout is 'mine'"):
        open_dataset(tmp_path, DataOptions(layout="mine"))


def test_glas_names_are_paired(tmp_path: Path) -> None:
    dataset = open_dataset(glas(tmp_path))
    assert names(dataset) == ["train_1", "train_2"]
    assert dataset.cases[0].labels[0].name == "train_1_anno.bmp"


def test_a_list_gives_names_subjects_and_spacings(tmp_path: Path) -> None:
    dataset = open_dataset(pairs(tmp_path))
    assert names(dataset) == ["a", "b"]
    assert [case.subject for case in dataset.cases] == ["s1", "s1"]
    assert [case.spacing for case in dataset.cases] == [(0.5, 0.5), (2.0, 3.0)]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_lists_of_other_separators_are_read(separator: str, tmp_path: Path) -> None:
    table = pairs(tmp_path) / "cases.csv"
    table.write_text("\ufeff" + table.read_text(encoding="utf-8").replace(",", separator), encoding="utf-8")
    assert names(open_dataset(tmp_path)) == ["a", "b"]


def test_a_list_may_be_json_with_channels_and_raters(tmp_path: Path) -> None:
    for name in ("a0.png", "a1.png"):
        save_image(tmp_path / name)
    for name in ("r1.png", "r2.png"):
        mask(tmp_path / name)
    rows = [{"image": ["a0.png", "a1.png"], "label": ["r1.png", "r2.png"], "name": "a"}]
    (case,) = open_dataset(write_json(tmp_path / "my list.json", rows)).cases
    assert (len(case.images), len(case.labels)) == (2, 2)


def test_numbered_columns_are_channels_and_raters(tmp_path: Path) -> None:
    for name in ("a0.png", "a1.png"):
        save_image(tmp_path / name)
        mask(tmp_path / f"m{name}")
    (tmp_path / "cases.csv").write_text("label2,image2,image,label\nma1.png,a1.png,a0.png,ma0.png\n")
    (case,) = open_dataset(tmp_path).cases
    assert [path.name for path in case.images] == ["a0.png", "a1.png"]
    assert [path.name for path in case.labels] == ["ma0.png", "ma1.png"]


@pytest.mark.parametrize(
    "table, message",
    [
        ("image,mask\na.png,b.png\n", "unknown columns mask"),
        ("image,label\nnowhere.png,b.png\n", r"nowhere\.png: is listed in cases\.csv"),
        ("image,label\n", "no rows"),
        ("image,label,name\na.png,m.png,x\na.png,m.png,x\n", "case x twice"),
        ("image,label,spacing\na.png,m.png,wide\n", "spacing 'wide'"),
        ("image,label\na.png,m.png,7\n", "row 2 has 3 cells"),
        ("image,label\n,m.png\n", "entry 1 has no image"),
    ],
)
def test_damaged_lists_are_refused(table: str, message: str, tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    mask(tmp_path / "m.png")
    (tmp_path / "cases.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        open_dataset(tmp_path)


def test_case_folders_keep_the_raters_order(tmp_path: Path) -> None:
    dataset = open_dataset(case_folders(tmp_path))
    assert names(dataset) == ["testing_1", "training_1"]
    assert [path.name for path in dataset.cases[0].labels] == ["label0_.png", "label1_.png", "label10_.png"]


def test_case_folders_refuse_two_images(tmp_path: Path) -> None:
    save_image(case_folders(tmp_path) / "testing/1/image_10.png")
    with pytest.raises(InputError, match="has 2 images"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"labels": ', "not readable as JSON"),
        ("[]", "not a JSON object"),
        ('{"labels": {"whole": [1, 2]}}', "regions"),
        ('{"labels": {"a": 1, "b": 1}}', "twice"),
        ('{"labels": {"background": 1}}', "another id than 0"),
        ('{"labels": {"a": "x"}}', "no whole number"),
        ('{"labels": []}', "not an object"),
        ('{"axes": "xyz"}', "choose yx, zyx or tyx"),
        ('{"channel_names": {"a": "b"}}', "neither a list nor numbered"),
        ('{"ignore_id": "255"}', "ignore_id"),
    ],
)
def test_damaged_descriptions_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (two_folders(tmp_path) / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=rf"dataset\.json.*{message}"):
        open_dataset(tmp_path)
