"""Ids in masks: negative, huge, nearly whole, and of segments with names."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from volume_builders import plain, write_json

from ldseg.data.cases import DataOptions
from ldseg.data.checks import check
from ldseg.data.dataset import load_labels, open_dataset
from ldseg.data.formats import ending, output_ending, read_volume, stem, write_volume
from ldseg.errors import InputError
from ldseg.planning.fingerprint import take_fingerprint


def nifti(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag((2.0, 2.0, 2.0, 1.0)), dtype=array.dtype), path)
    return path


def nifti_set(root: Path, *masks: np.ndarray) -> Path:
    for n, mask in enumerate(masks):
        nifti(root / f"images/c{n}.nii.gz", np.random.default_rng(n).random(mask.shape).astype(np.float32))
        nifti(root / f"labels/c{n}.nii.gz", mask)
    return root


def ids(shape: tuple[int, ...] = (4, 5, 6), kind: str = "int16") -> np.ndarray:
    mask = np.zeros(shape, kind)
    mask[1:3, 1:4, 1:5] = 1
    return mask


def unlabelled(kind: str = "int16") -> np.ndarray:
    mask = ids(kind=kind)
    mask[0, 0] = -1
    return mask


@pytest.mark.parametrize("options", [DataOptions(), DataOptions(labels_above_zero=True)])
def test_a_negative_id_is_a_fault_and_no_class(options: DataOptions, tmp_path: Path) -> None:
    dataset = open_dataset(nifti_set(tmp_path, unlabelled()), options)
    assert dataset.classes == {"background": 0, "class_1": 1}
    (fault,) = check(dataset).faults
    assert "negative label ids: -1 (6 voxels)" in fault.finding
    assert "--ignore-id -1" in fault.remedy
    with pytest.raises(InputError, match="negative label ids"):
        take_fingerprint(dataset, dataset.cases)


@pytest.mark.parametrize("above_zero", [False, True])
def test_a_negative_ignore_id_is_ignored(above_zero: bool, tmp_path: Path) -> None:
    options = DataOptions(ignore_id=-1, labels_above_zero=above_zero)
    dataset = open_dataset(nifti_set(tmp_path, *[unlabelled("float32")] * 3), options)
    report = check(dataset)
    assert not report.faults
    assert report.rows[0].ids == {-1: 6, 0: 90, 1: 24}
    fingerprint = take_fingerprint(dataset, dataset.cases)
    assert fingerprint.classes[0].frequency == pytest.approx(24 / 114, rel=1e-4)


def test_two_negative_ids_are_not_both_ignored(tmp_path: Path) -> None:
    mask = unlabelled()
    mask[3, 4] = -2
    for options in (DataOptions(), DataOptions(ignore_id=-1)):
        (fault,) = check(open_dataset(nifti_set(tmp_path, mask), options)).faults
        assert "one ignore id for all voxels" in fault.remedy


def test_a_declared_negative_id_is_refused(tmp_path: Path) -> None:
    nifti_set(tmp_path, unlabelled())
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "liver": -1}})
    with pytest.raises(InputError, match="negative id"):
        open_dataset(tmp_path)
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "liver": 1, "ignore": -1}})
    assert open_dataset(tmp_path).ignore_id == -1


@pytest.mark.parametrize("slope", [0.9999, 0.494])
def test_scaled_integers_are_rounded_with_a_hint(slope: float, tmp_path: Path) -> None:
    raw = ids() * (2 if slope < 0.5 else 1)
    nifti_set(tmp_path, ids())
    image = nib.Nifti1Image(raw, np.diag((2.0, 2.0, 2.0, 1.0)))
    image.header.set_slope_inter(slope, 0)
    nib.save(image, tmp_path / "labels/c0.nii.gz")
    dataset = open_dataset(tmp_path)
    (label,) = load_labels(dataset, dataset.cases[0])
    np.testing.assert_array_equal(label.array[0], ids().T)
    hints = check(dataset).hints
    assert any("away from whole numbers; rounded" in hint for hint in hints)


@pytest.mark.parametrize("value", [0.94, 0.5, 1.06])
def test_one_fraction_refuses_the_whole_mask(value: float, tmp_path: Path) -> None:
    mask = ids(kind="float32") * 0.988
    mask[3, 4, 5] = value
    with pytest.raises(InputError, match="1 voxels that are not whole numbers"):
        read_volume(nifti(tmp_path / "a.nii.gz", mask), "labels")


@pytest.mark.parametrize(
    "kind, value", [("int64", 2**31), ("uint32", 2**32 - 1), ("uint64", 2**63), ("float64", 1e12)]
)
def test_an_id_beyond_32_bits_is_refused(kind: str, value: float, tmp_path: Path) -> None:
    mask = ids(kind=kind)
    mask[0, 0, 0] = value
    with pytest.raises(InputError, match="beyond 32 bits") as error:
        read_volume(nifti(tmp_path / "a.nii", mask), "labels")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["uint64", "int64", "uint32", "float64"])
def test_small_ids_of_wide_types_are_read(kind: str, tmp_path: Path) -> None:
    label = read_volume(nifti(tmp_path / "a.nii", ids(kind=kind)), "labels")
    assert (label.array.dtype, label.stored) == (np.uint8, kind)
    np.testing.assert_array_equal(label.array[0], ids().T)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_mask_with_nan_says_so(value: float, tmp_path: Path) -> None:
    mask = ids(kind="float32")
    mask[0, 0] = value
    with pytest.raises(InputError, match="6 voxels that are NaN or infinite; replace them"):
        read_volume(nifti(tmp_path / "a.nii", mask), "labels")


def segmentation(path: Path, layers: np.ndarray, *segments: tuple[str, int, int]) -> Path:
    """A file as 3D Slicer writes it, from layers (L, Z, Y, X) and (name, value, layer) of segments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    many = len(layers) > 1
    image = sitk.GetImageFromArray(np.moveaxis(layers, 0, -1) if many else layers[0], isVector=many)
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetOrigin((-10.0, 5.0, 7.0))
    for n, (name, value, layer) in enumerate(segments):
        image.SetMetaData(f"Segment{n}_ID", f"Segment_{n + 1}")
        image.SetMetaData(f"Segment{n}_Name", name)
        image.SetMetaData(f"Segment{n}_LabelValue", str(value))
        image.SetMetaData(f"Segment{n}_Layer", str(layer))
    sitk.WriteImage(image, str(path), useCompression=True)
    if many:
        path.write_bytes(path.read_bytes().replace(b"kinds: vector", b"kinds: list", 1))
    return path


def layers(*boxes: tuple[int, int]) -> np.ndarray:
    """A layer per pair of columns, 1 within them."""
    made = np.zeros((len(boxes), 4, 5, 6), np.uint8)
    for layer, (low, high) in zip(made, boxes, strict=True):
        layer[1:3, 1:4, low:high] = 1
    return made


def slicer_set(root: Path, count: int) -> Path:
    for n in range(count):
        image = sitk.GetImageFromArray(np.random.default_rng(n).random((4, 5, 6)).astype(np.float32))
        image.SetSpacing((2.0, 2.0, 2.0))
        image.SetOrigin((-10.0, 5.0, 7.0))
        (root / "images").mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(root / f"images/c{n}.nrrd"))
    return root


def test_the_ending_of_a_segmentation_is_no_part_of_its_name() -> None:
    assert ending("labels/C0.seg.NRRD") == ".seg.nrrd"
    assert stem("labels/c0.seg.nrrd") == "c0"
    assert output_ending("c0.seg.nrrd") == ".nrrd"


def test_segment_names_are_the_classes(tmp_path: Path) -> None:
    one = layers((0, 2))
    one[0, 1, 1, 4] = 3
    segmentation(slicer_set(tmp_path, 1) / "labels/c0.seg.nrrd", one, ("liver", 1, 0), ("tumour: left", 3, 0))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == {"background": 0, "liver": 1, "tumour: left": 3}
    assert load_labels(dataset, dataset.cases[0])[0].array.max() == 3


def test_layers_without_overlap_are_merged(tmp_path: Path) -> None:
    segmentation(
        slicer_set(tmp_path, 1) / "labels/c0.seg.nrrd",
        layers((0, 2), (2, 5)),
        ("liver", 1, 0),
        ("spleen", 1, 1),
    )
    dataset = open_dataset(tmp_path)
    assert dataset.classes == {"background": 0, "liver": 1, "spleen": 2}
    (label,) = load_labels(dataset, dataset.cases[0])
    assert label.array[0, 1, 1].tolist() == [1, 1, 2, 2, 2, 0]


def test_a_segmentation_of_3d_slicer_is_no_image(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "c0.seg.nrrd", layers((0, 3)), ("liver", 1, 0))
    with pytest.raises(InputError, match="is a segmentation and not an image"):
        read_volume(path, "image")


def test_overlapping_segments_are_refused_with_a_remedy(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "c0.seg.nrrd", layers((0, 3), (2, 5)), ("liver", 1, 0), ("spleen", 1, 1))
    with pytest.raises(
        InputError, match=r"segments that overlap \('spleen' in 6 voxels\); save one label map"
    ):
        read_volume(path, "labels")


def test_voxels_of_no_segment_are_not_lost(tmp_path: Path) -> None:
    made = layers((0, 2), (2, 5))
    made[1, 0, 0, 0] = 9
    path = segmentation(tmp_path / "c0.seg.nrrd", made, ("liver", 1, 0), ("spleen", 1, 1))
    with pytest.raises(InputError, match="1 voxels that belong to no segment"):
        read_volume(path, "labels")


def test_segments_of_one_name_are_one_class_whatever_their_ids(tmp_path: Path) -> None:
    slicer_set(tmp_path, 2)
    two = layers((0, 2))
    two[0, 1, 1, 4] = 2
    segmentation(tmp_path / "labels/c0.seg.nrrd", two, ("spleen", 1, 0), ("liver", 2, 0))
    segmentation(tmp_path / "labels/c1.seg.nrrd", two, ("liver", 1, 0), ("spleen", 2, 0))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == {"background": 0, "liver": 1, "spleen": 2}
    (first,), (second,) = (load_labels(dataset, case) for case in dataset.cases)
    assert first.array[0, 1, 1].tolist() == [2, 2, 0, 0, 1, 0]
    assert second.array[0, 1, 1].tolist() == [1, 1, 0, 0, 2, 0]


def test_names_are_mapped_to_declared_classes_and_strange_ones_refused(tmp_path: Path) -> None:
    slicer_set(tmp_path, 1)
    two = layers((0, 2))
    two[0, 1, 1, 4] = 2
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "liver": 1, "spleen": 2}})
    path = tmp_path / "labels/c0.seg.nrrd"
    segmentation(path, two, ("spleen", 1, 0), ("liver", 2, 0))
    dataset = open_dataset(tmp_path)
    (label,) = load_labels(dataset, dataset.cases[0])
    assert label.array[0, 1, 1].tolist() == [2, 2, 0, 0, 1, 0]
    segmentation(path, two, ("spleen", 1, 0), ("lung", 2, 0))
    with pytest.raises(InputError, match="a segment 'lung' that is none of the classes"):
        load_labels(dataset, dataset.cases[0])
    segmentation(path, two, ("Segment_1", 1, 0), ("Segment_2", 2, 0))
    (label,) = load_labels(dataset, dataset.cases[0])
    assert label.array[0, 1, 1].tolist() == [1, 1, 0, 0, 2, 0]


def test_a_mask_written_with_the_ending_of_segmentations_is_a_label_map(tmp_path: Path) -> None:
    given = plain("zyx")
    write_volume(tmp_path / "a.seg.nrrd", given)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.seg.nrrd", "labels").array, given.array)


def test_the_background_is_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ignore_id is 0, the background"):
        DataOptions(ignore_id=0)
    nifti_set(tmp_path, np.eye(4, dtype=np.uint8)[None])
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "a": 1}, "ignore_id": 0})
    with pytest.raises(InputError, match=r'dataset\.json: "ignore_id" is 0, the background'):
        open_dataset(tmp_path)
