"""Opening data sets and loading their cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from volume_builders import mask, plain, save_image, save_volume, volume, write_json

from ldseg.data.dataset import DataOptions, cases_named, load_case, load_image, load_labels, open_dataset
from ldseg.errors import InputError


def flat_set(root: Path, ids: tuple[int, ...] = (0, 1)) -> Path:
    for name in ("p1_a", "p1_b", "p2_a"):
        save_image(root / f"images/{name}.png")
        mask(root / f"labels/{name}.png", ids)
    return root


def deep_set(root: Path, kind: str = ".nii.gz") -> Path:
    for number, name in enumerate(("a", "b")):
        image = volume("zyx", "image", seed=number)
        save_volume(root / f"images/{name}{kind}", image)
        save_volume(root / f"labels/{name}{kind}", replace(volume("zyx", seed=number), kind="labels"))
    return root


def test_classes_are_the_ids_in_the_masks(tmp_path: Path) -> None:
    dataset = open_dataset(flat_set(tmp_path, (0, 2, 7)))
    assert dataset.classes == {"background": 0, "class_2": 2, "class_7": 7}
    assert not dataset.declared


def test_the_id_255_is_a_class_unless_it_is_to_be_ignored(tmp_path: Path) -> None:
    flat_set(tmp_path, (0, 1, 255))
    assert open_dataset(tmp_path).classes == {"background": 0, "class_1": 1, "class_255": 255}
    ignoring = open_dataset(tmp_path, DataOptions(ignore_id=255))
    assert ignoring.classes == {"background": 0, "class_1": 1}
    (label,) = load_labels(ignoring, ignoring.cases[0])
    assert set(np.unique(label.array)) == {0, 1, 255}


def test_instances_become_one_class_and_keep_the_ignore_id(tmp_path: Path) -> None:
    flat_set(tmp_path, (0, 3, 200, 9))
    dataset = open_dataset(tmp_path, DataOptions(labels_above_zero=True, ignore_id=9))
    assert dataset.classes == {"background": 0, "class_1": 1}
    (label,) = load_labels(dataset, dataset.cases[0])
    assert label.array[0, 0, :4].tolist() == [0, 1, 1, 9]
    assert label.array.dtype == np.uint8


def test_a_large_ignore_id_does_not_wrap(tmp_path: Path) -> None:
    flat_set(tmp_path)
    for ignore in (1000, -1):
        dataset = open_dataset(tmp_path, DataOptions(labels_above_zero=True, ignore_id=ignore))
        (label,) = load_labels(dataset, dataset.cases[0])
        assert set(np.unique(label.array)) == {0, 1}


def test_a_threshold_splits_at_its_value(tmp_path: Path) -> None:
    flat_set(tmp_path, (0, 127, 128, 255))
    dataset = open_dataset(tmp_path, DataOptions(label_threshold=127))
    (label,) = load_labels(dataset, dataset.cases[0])
    assert label.array[0, 0, :4].tolist() == [0, 0, 1, 1]


def test_jpeg_masks_without_a_threshold_are_refused_with_the_remedy(tmp_path: Path) -> None:
    save_image(tmp_path / "images/a.png")
    smooth = np.linspace(0, 255, 48).reshape(6, 8).astype(np.uint8)
    save_image(tmp_path / "labels/a.jpg", smooth)
    with pytest.raises(InputError, match="label_threshold"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, DataOptions(label_threshold=127)).classes == {"background": 0, "class_1": 1}


def test_very_many_ids_are_refused_with_the_remedy(tmp_path: Path) -> None:
    save_image(tmp_path / "images/a.png", np.zeros((10, 20), np.uint8))
    save_image(tmp_path / "labels/a.png", np.arange(200, dtype=np.uint16).reshape(10, 20))
    with pytest.raises(InputError, match="labels_above_zero"):
        open_dataset(tmp_path)


def test_subjects_come_from_a_pattern(tmp_path: Path) -> None:
    dataset = open_dataset(flat_set(tmp_path), DataOptions(subject_pattern=r"(p\d)"))
    assert [case.subject for case in dataset.cases] == ["p1", "p1", "p2"]
    with pytest.raises(InputError, match="p1_a does not match"):
        open_dataset(tmp_path, DataOptions(subject_pattern=r"(q\d)"))


@pytest.mark.parametrize(
    "options",
    [
        {"subject_pattern": "("},
        {"subject_pattern": "p1"},
        {"spacing": (1.0, 0.0)},
        {"geometry_tolerance": 0.0},
        {"geometry_tolerance": 10.0},
        {"labels_above_zero": True, "label_threshold": 1},
    ],
)
def test_options_that_mean_nothing_are_refused_early(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="data\\."):
        DataOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["spacing.csv", "pixel_size_mm.csv"])
def test_a_table_of_spacings_is_honoured(name: str, tmp_path: Path) -> None:
    (flat_set(tmp_path) / name).write_text("filename,mm\np1_a.png,0.25\np2_a.png,0.5\n")
    dataset = open_dataset(tmp_path)
    assert [case.spacing for case in dataset.cases] == [(0.25, 0.25), None, (0.5, 0.5)]
    image, (label,) = load_case(dataset, dataset.cases[0])
    assert image.spacing == label.spacing == (0.25, 0.25)


def test_a_table_that_is_corrected_is_read_again(tmp_path: Path) -> None:
    table = flat_set(tmp_path) / "spacing.csv"
    for millimetres in (0.5, 0.25):
        table.write_text(f"filename,mm\np1_a.png,{millimetres}\n")
        assert open_dataset(tmp_path).cases[0].spacing == (millimetres, millimetres)


def test_a_spacing_option_overrules_files_and_tables(tmp_path: Path) -> None:
    (flat_set(tmp_path) / "spacing.csv").write_text("filename,mm\np1_a.png,0.25\n")
    dataset = open_dataset(tmp_path, DataOptions(spacing=(2.0, 3.0)))
    assert load_image(dataset, dataset.cases[0]).spacing == (2.0, 3.0)
    with pytest.raises(InputError, match="spacing of 3 numbers for the axes yx"):
        open_dataset(tmp_path, DataOptions(spacing=(1.0, 2.0, 3.0)))


def test_one_spacing_is_for_space_and_not_for_time(tmp_path: Path) -> None:
    save_volume(tmp_path / "images/a.tif", plain("tyx", "image"))
    save_volume(tmp_path / "labels/a.tif", plain("tyx"))
    (tmp_path / "spacing.csv").write_text("filename,mm\na.tif,0.7\n")
    (case,) = open_dataset(tmp_path, DataOptions(axes="tyx")).cases
    assert case.spacing == (1.0, 0.7, 0.7)


@pytest.mark.parametrize("kind", [".nii.gz", ".mha", ".nrrd"])
def test_labels_lie_on_the_images_grid(kind: str, tmp_path: Path) -> None:
    dataset = open_dataset(deep_set(tmp_path, kind))
    for case in dataset.cases:
        image, (label,) = load_case(dataset, case)
        assert (label.spacing, label.origin, label.direction) == (
            image.spacing,
            image.origin,
            image.direction,
        )
        assert (label.kind, label.array.shape[0]) == ("labels", 1)


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    save_volume(deep_set(tmp_path) / "labels/b.nii.gz", volume("zyx", shape=(4, 5, 6)))
    dataset = open_dataset(tmp_path)
    with pytest.raises(
        InputError, match=r"labels/b\.nii\.gz: has shape \(4, 5, 6\) but its image b\.nii\.gz has"
    ):
        load_labels(dataset, dataset.cases[1])


def test_a_flipped_mask_is_refused(tmp_path: Path) -> None:
    given = replace(plain("zyx"), spacing=(1.0, 1.0, 1.0))
    save_volume(tmp_path / "images/a.mha", replace(given, kind="image"))
    save_volume(tmp_path / "labels/a.mha", replace(given, direction=(-1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)))
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputError, match="different affine"):
        load_labels(dataset, dataset.cases[0])


def test_masks_of_a_format_without_geometry_only_need_the_shape(tmp_path: Path) -> None:
    save_volume(tmp_path / "images/a.nii.gz", volume("yx", "image"))
    save_volume(tmp_path / "labels/a.png", plain("yx"))
    dataset = open_dataset(tmp_path)
    image, (label,) = load_case(dataset, dataset.cases[0])
    assert label.spacing == image.spacing
    assert dataset.file_ending == ".png"


def test_ids_outside_the_declared_ones_are_refused_with_their_number(tmp_path: Path) -> None:
    write_json(flat_set(tmp_path, (0, 1, 5, 1)) / "dataset.json", {"labels": {"background": 0, "liver": 1}})
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"p1_a\.png.*outside.*5 \(12 voxels\)"):
        load_labels(dataset, dataset.cases[0])


def test_a_description_of_ignored_ids_makes_them_legal(tmp_path: Path) -> None:
    content = {"labels": {"background": 0, "liver": 1, "ignore": 5}}
    write_json(flat_set(tmp_path, (0, 1, 5)) / "dataset.json", content)
    dataset = open_dataset(tmp_path)
    assert load_labels(dataset, dataset.cases[0])
    assert dataset.classes == {"background": 0, "liver": 1}


def test_grey_and_colour_images_mix(tmp_path: Path) -> None:
    flat_set(tmp_path)
    colours = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    save_image(tmp_path / "images/p2_a.png", colours)
    dataset = open_dataset(tmp_path)
    assert dataset.channel_names == ("red", "green", "blue")
    grey = load_image(dataset, dataset.cases[0]).array
    assert grey.shape == (3, 6, 8)
    np.testing.assert_array_equal(grey[0], grey[2])
    np.testing.assert_array_equal(load_image(dataset, dataset.cases[2]).array, np.moveaxis(colours, -1, 0))


def test_colour_where_one_channel_is_declared_must_be_grey(tmp_path: Path) -> None:
    write_json(flat_set(tmp_path) / "dataset.json", {"channel_names": ["US"]})
    save_image(tmp_path / "images/p1_b.png", np.stack([np.arange(48, dtype=np.uint8).reshape(6, 8)] * 3, -1))
    save_image(tmp_path / "images/p2_a.png", np.arange(144, dtype=np.uint8).reshape(6, 8, 3))
    dataset = open_dataset(tmp_path)
    assert load_image(dataset, dataset.cases[1]).array.shape == (1, 6, 8)
    with pytest.raises(InputError, match=r"p2_a\.png: has 3 channels where 1 are expected"):
        load_image(dataset, dataset.cases[2])


def test_volumes_with_another_number_of_channels_are_refused(tmp_path: Path) -> None:
    save_volume(deep_set(tmp_path) / "images/b.nii.gz", volume("zyx", "image", channels=3, seed=1))
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"images/b\.nii\.gz: has 3 channels where 1 are expected"):
        load_image(dataset, dataset.cases[1])


def test_a_damaged_file_does_not_keep_the_set_from_opening(tmp_path: Path) -> None:
    flat_set(tmp_path)
    (tmp_path / "images/p1_a.png").write_bytes(b"nonsense")
    (tmp_path / "labels/p1_b.png").write_bytes(b"nonsense")
    dataset = open_dataset(tmp_path)
    assert len(dataset.cases) == 3
    with pytest.raises(InputError, match=r"images/p1_a\.png"):
        load_image(dataset, dataset.cases[0])


def test_a_set_without_any_readable_image_is_refused(tmp_path: Path) -> None:
    for path in (flat_set(tmp_path) / "images").iterdir():
        path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"p1_a\.png: cannot be read"):
        open_dataset(tmp_path)


def test_several_raters_are_loaded_in_order(tmp_path: Path) -> None:
    save_image(tmp_path / "images/a.png")
    for rater in range(3):
        mask(tmp_path / f"labels/a_rater{rater}.png", (0, 1) if rater else (0,))
    dataset = open_dataset(tmp_path)
    labels = load_labels(dataset, dataset.cases[0])
    assert [int(label.array.max()) for label in labels] == [0, 1, 1]


def test_the_axes_option_reads_slices_as_frames(tmp_path: Path) -> None:
    dataset = open_dataset(deep_set(tmp_path), DataOptions(axes="tyx"))
    image, (label,) = load_case(dataset, dataset.cases[0])
    assert image.axes == label.axes == "tyx"


def test_cases_are_picked_by_name_in_the_order_asked(tmp_path: Path) -> None:
    dataset = open_dataset(flat_set(tmp_path))
    assert [case.name for case in cases_named(dataset.cases, ["p2_a", "p1_a"])] == ["p2_a", "p1_a"]
    with pytest.raises(InputError, match="no case zz"):
        cases_named(dataset.cases, ["zz"])
