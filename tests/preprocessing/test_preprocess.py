"""From a volume to the network's grid and back."""

import numpy as np
import pytest
from preprocessing_grids import blobs, dice, plan, volume

from ldseg.errors import InputError
from ldseg.planning.plan import ChannelPlan
from ldseg.preprocessing.preprocess import (
    preprocess_image,
    preprocess_labels,
    restore_labels,
    restore_probabilities,
)

SAGITTAL = np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]])


def test_an_anisotropic_oriented_volume_goes_there_and_back() -> None:
    ids = blobs((60, 50, 14))
    scan = volume(ids[None].astype(np.float32), spacing=(0.7, 0.8, 3.0), direction=SAGITTAL)
    made = plan()
    prepared = preprocess_image(scan, made)
    # the file's axes are slices (x), -z, y: canonical z, y, x is 50 * .8, 14 * 3, 60 * .7
    assert prepared.array.shape == (1, 40, 42, 42)
    assert prepared.array.dtype == np.float32
    indices = preprocess_labels(scan.with_array(ids[None], "labels"), made)
    assert indices.shape == prepared.grid.shape
    restored = restore_labels(indices, prepared.grid, made)
    assert restored.shape == (1, 60, 50, 14)
    for class_id in (1, 4):
        assert dice(restored[0] == class_id, ids == class_id) > 0.93


def test_probabilities_come_back_on_the_files_grid() -> None:
    ids = blobs((60, 50, 14))
    scan = volume(ids[None].astype(np.float32), spacing=(0.7, 0.8, 3.0), direction=SAGITTAL)
    made = plan()
    prepared = preprocess_image(scan, made)
    indices = preprocess_labels(scan.with_array(ids[None], "labels"), made)
    onehot = np.stack([indices == k for k in range(3)]).astype(np.float32)
    restored = restore_probabilities(onehot, prepared.grid)
    assert restored.shape == (3, 60, 50, 14)
    np.testing.assert_allclose(restored.sum(0), 1, rtol=1e-5)
    assert dice(restored.argmax(0) == 1, ids == 1) > 0.95


def test_image_and_labels_stay_registered() -> None:
    ids = blobs((20, 50, 60))
    scan = volume(100.0 * ids[None].astype(np.float32), spacing=(2.5, 1.3, 0.9))
    made = plan()
    image = preprocess_image(scan, made).array[0]
    indices = preprocess_labels(scan.with_array(ids[None], "labels"), made)
    assert dice(image > np.percentile(image, 100 * (indices != 2).mean()), indices == 2) > 0.9


@pytest.mark.parametrize(("axes", "shape"), [("yx", (31, 45)), ("tyx", (6, 31, 45))])
def test_pictures_and_time_series_at_the_target_spacing_are_untouched(
    axes: str, shape: tuple[int, ...]
) -> None:
    made = plan(axes, channels=(ChannelPlan("x", "range", -2, 2),) * 2)
    array = np.random.default_rng(0).uniform(-1, 1, (2, *shape)).astype(np.float32)
    prepared = preprocess_image(volume(array, axes), made)
    np.testing.assert_allclose(prepared.array, array, atol=1e-6)


def test_time_is_never_resampled() -> None:
    made = plan("tyx")
    array = np.random.default_rng(0).standard_normal((1, 20, 30, 30)).astype(np.float32)
    assert preprocess_image(volume(array, "tyx", (0.04, 2.0, 2.0)), made).array.shape == (1, 20, 60, 60)


def test_a_plan_without_resampling_keeps_the_pixels() -> None:
    array = np.random.default_rng(0).standard_normal((1, 30, 30)).astype(np.float32)
    made = plan("yx", resample=False)
    assert preprocess_image(volume(array, "yx", (0.3, 0.3)), made).array.shape == (1, 30, 30)


def test_ids_become_class_indices_and_ignore_becomes_minus_one() -> None:
    made = plan("yx", ignore_id=255)
    ids = np.array([[[0, 1, 4, 255]]], dtype=np.uint8)
    labels = volume(ids, "yx", kind="labels")
    indices = preprocess_labels(labels, made)
    np.testing.assert_array_equal(indices, [[0, 1, 2, -1]])
    grid = preprocess_image(labels.with_array(ids.astype(np.float32), "image"), made).grid
    np.testing.assert_array_equal(restore_labels(indices, grid, made), ids)


def test_instances_become_one_class() -> None:
    made = plan("yx", labels_above_zero=True, classes={"background": 0, "nucleus": 1}, ignore_id=999)
    ids = np.array([[[0, 1, 57, 999]]], dtype=np.uint16)
    np.testing.assert_array_equal(
        preprocess_labels(volume(ids, "yx", kind="labels"), made), np.array([[0, 1, 1, -1]])
    )


def test_file_ids_are_of_the_smallest_type() -> None:
    made = plan("yx", classes={"background": 0, "far": 300})
    grid = preprocess_image(volume(np.zeros((1, 2, 2), np.float32), "yx"), made).grid
    restored = restore_labels(np.array([[0, 1], [1, 0]]), grid, made)
    assert restored.dtype == np.uint16
    assert restored.max() == 300


@pytest.mark.parametrize(
    ("array", "axes", "words"),
    [
        (np.zeros((2, 4, 4, 4), np.float32), "zyx", ["scan.nii", "2 channels", "1 (MRI)"]),
        (np.zeros((1, 4, 4), np.float32), "yx", ["scan.nii", "axes yx", "zyx"]),
        (np.full((1, 4, 4, 4), np.nan, np.float32), "zyx", ["scan.nii", "nan"]),
    ],
)
def test_an_image_that_does_not_fit_the_plan_says_why(array: np.ndarray, axes: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        preprocess_image(volume(array, axes), plan(), "scan.nii")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("spacing", [(1e6, 1.0, 1.0), (1e6,) * 3, (20.0,) * 3])
def test_a_spacing_that_would_make_a_giant_of_an_image_is_refused(spacing: tuple[float, ...]) -> None:
    scan = volume(np.zeros((1, 6, 16, 20), np.float32), spacing=spacing)
    with pytest.raises(InputError, match=r"scan\.nii: has a spacing .* correct its spacing"):
        preprocess_image(scan, plan(), "scan.nii")


@pytest.mark.parametrize("spacing", [(1e-3,) * 3, (0.01, 1.0, 1.0), (0.1,) * 3])
def test_a_spacing_that_would_leave_little_of_an_image_is_refused(spacing: tuple[float, ...]) -> None:
    scan = volume(np.zeros((1, 6, 16, 20), np.float32), spacing=spacing)
    with pytest.raises(
        InputError, match=r"scan\.nii: has a spacing .* was trained at .* correct its spacing"
    ):
        preprocess_image(scan, plan(), "scan.nii")
    fine = volume(np.zeros((1, 6, 16, 20), np.float32), spacing=(0.5, 0.25, 0.25))
    assert preprocess_image(fine, plan(), "scan.nii").grid.shape


def test_an_image_for_which_there_is_no_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ldseg.utils.system.available_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"scan\.nii: promises 3375 voxels"):
        preprocess_image(volume(np.zeros((1, 15, 15, 15), np.float32)), plan(), "scan.nii")


def test_an_unknown_label_id_is_refused() -> None:
    labels = volume(np.full((1, 3, 3), 3, np.uint8), "yx", kind="labels")
    with pytest.raises(InputError, match=r"mask\.png: label ids \[3\] are not among \[0, 1, 4\]"):
        preprocess_labels(labels, plan("yx"), "mask.png")


def test_a_prediction_on_another_grid_is_our_own_fault() -> None:
    grid = preprocess_image(volume(np.zeros((1, 4, 4), np.float32), "yx"), plan("yx")).grid
    with pytest.raises(ValueError, match="grid"):
        restore_labels(np.zeros((5, 4), int), grid, plan("yx"))
