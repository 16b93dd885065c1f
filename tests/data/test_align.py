"""A mask on the grid of its image: stored another way round, rounded, cut to its segments, or elsewhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from volume_builders import rotation, save_volume, volume

from ldseg.data.align import align_label_to_image
from ldseg.data.cases import DataOptions
from ldseg.data.checks import check
from ldseg.data.dataset import load_case, open_dataset
from ldseg.data.formats import read_channels, read_volume
from ldseg.data.geometry import affine
from ldseg.data.volume import Volume
from ldseg.errors import InputError

ENDINGS = (".nii.gz", ".mha", ".nrrd")
TURNS = list(product(permutations(range(3)), product((False, True), repeat=3)))


def reoriented(given: Volume, order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same voxels of the world with array axes in another order, some of them backwards."""
    array = given.array.transpose([0, *(axis + 1 for axis in order)])
    array = np.flip(array, [n + 1 for n in range(3) if flips[n]])
    corner = [0] * 3  # array index of the first voxel in `given`
    for n, axis in enumerate(order):
        corner[axis] = given.shape[axis] - 1 if flips[n] else 0
    origin = affine(given) @ [*corner[::-1], 1.0]
    columns = np.reshape(given.direction, (3, 3))[:, ::-1]  # of the array's axes
    direction = columns[:, order] * np.where(flips, -1.0, 1.0)
    return replace(
        given,
        array=np.ascontiguousarray(array),
        spacing=tuple(given.spacing[axis] for axis in order),
        origin=tuple(origin[:3].tolist()),
        direction=tuple(direction[:, ::-1].ravel().tolist()),
    )


def cropped(given: Volume, low: tuple[int, ...], high: tuple[int, ...]) -> Volume:
    """Voxels low to high of each array axis, at their place in the world."""
    part = (slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))
    origin = affine(given) @ [*low[::-1], 1.0]
    return replace(given, array=given.array[part].copy(), origin=tuple(origin[:3].tolist()))


def a_pair(root: Path, image: Volume, label: Volume, kind: str = ".mha", label_kind: str = "") -> Path:
    save_volume(root / f"images/a{kind}", replace(image, kind="image"))
    save_volume(root / f"labels/a{label_kind or kind}", label)
    return root


def loaded(root: Path) -> Volume:
    dataset = open_dataset(root)
    image, (label,) = load_case(dataset, dataset.cases[0])
    assert (label.spacing, label.origin, label.direction) == (image.spacing, image.origin, image.direction)
    return label


@pytest.mark.parametrize("order, flips", TURNS)
def test_a_mask_in_any_of_48_orientations_gives_the_same_labels(
    order: tuple[int, ...], flips: tuple[bool, ...], tmp_path: Path
) -> None:
    given = volume("zyx", seed=3)
    label = align_label_to_image(reoriented(given, order, flips), given, tmp_path / "m", tmp_path / "i")
    np.testing.assert_array_equal(label.array, given.array)
    assert bool(label.notes) == ((order, flips) != ((0, 1, 2), (False,) * 3))


@pytest.mark.parametrize("kind, label_kind", product(ENDINGS, ENDINGS))
def test_a_mask_of_any_format_is_reoriented_to_its_image(kind: str, label_kind: str, tmp_path: Path) -> None:
    given = volume("zyx")
    turned = reoriented(given, (1, 0, 2), (True, False, True))
    label = loaded(a_pair(tmp_path, given, turned, kind, label_kind))
    np.testing.assert_array_equal(label.array, given.array)
    assert "another orientation" in label.notes[0]


def test_a_file_whose_own_spacing_is_overruled_is_still_reoriented(tmp_path: Path) -> None:
    given = volume("zyx")
    a_pair(tmp_path, given, reoriented(given, (2, 0, 1), (False, True, False)))
    dataset = open_dataset(tmp_path, DataOptions(spacing=(3.0, 2.0, 1.0)))
    image, (label,) = load_case(dataset, dataset.cases[0])
    np.testing.assert_array_equal(label.array, given.array)
    assert image.spacing == label.spacing == (3.0, 2.0, 1.0)


@pytest.mark.parametrize("shift, said", [(2e-4, ""), (0.004, "0.004 voxels"), (0.09, "0.09 voxels")])
def test_rounding_is_accepted_and_said(shift: float, said: str, tmp_path: Path) -> None:
    given = replace(volume("zyx", seed=1), spacing=(1.0, 1.0, 1.0), direction=tuple(np.eye(3).ravel()))
    moved = replace(given, origin=(given.origin[0] + shift, *given.origin[1:]))
    label = loaded(a_pair(tmp_path, given, moved))
    np.testing.assert_array_equal(label.array, given.array)
    assert bool(label.notes) == bool(said)
    assert any(said in hint for hint in check(open_dataset(tmp_path)).hints)


@pytest.mark.parametrize("shift", [0.2, 1.0, 5.0])
def test_a_mask_that_lies_elsewhere_is_refused_with_the_distance(shift: float, tmp_path: Path) -> None:
    given = replace(volume("zyx", seed=1), spacing=(1.0, 1.0, 1.0), direction=tuple(np.eye(3).ravel()))
    moved = replace(given, origin=(given.origin[0] + shift, *given.origin[1:]))
    with pytest.raises(InputError, match=rf"lies up to {shift:.3g} voxels.*resample it onto"):
        loaded(a_pair(tmp_path, given, moved))


@pytest.mark.parametrize("tolerance", [0.1, 0.5])
def test_no_tolerance_lays_a_rotated_or_scaled_mask_on_its_image(tolerance: float, tmp_path: Path) -> None:
    given = volume("zyx", seed=1)
    for other in (
        replace(given, direction=tuple(rotation(3, 7).ravel().tolist())),
        replace(given, spacing=tuple(step * 1.5 for step in given.spacing)),
    ):
        a_pair(tmp_path, given, other)
        dataset = open_dataset(tmp_path, DataOptions(geometry_tolerance=tolerance))
        with pytest.raises(InputError, match="different affine"):
            load_case(dataset, dataset.cases[0])


def test_a_tolerance_does_not_lay_a_mirrored_mask_voxel_by_voxel(tmp_path: Path) -> None:
    given = volume("zyx", seed=1)
    a_pair(tmp_path, given, reoriented(given, (0, 1, 2), (False, False, True)))
    dataset = open_dataset(tmp_path, DataOptions(geometry_tolerance=0.5))
    np.testing.assert_array_equal(load_case(dataset, dataset.cases[0])[1][0].array, given.array)


@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("turn", [False, True])
def test_a_mask_cut_to_its_segments_is_placed_and_said(kind: str, turn: bool, tmp_path: Path) -> None:
    given = volume("zyx")
    low, high = (1, 2, 0), (3, 5, 4)
    part = cropped(given, low, high)
    expected = np.zeros_like(given.array)
    expected[0, 1:3, 2:5, 0:4] = given.array[0, 1:3, 2:5, 0:4]
    stored = reoriented(part, (2, 1, 0), (True, False, False)) if turn else part
    label = loaded(a_pair(tmp_path, given, stored, kind))
    np.testing.assert_array_equal(label.array, expected)
    assert "covers 2 x 3 x 4 of the 4 x 5 x 7 voxels" in label.notes[-1]


def test_a_mask_larger_than_its_image_is_cut_where_it_is_empty(tmp_path: Path) -> None:
    whole = volume("zyx", shape=(6, 7, 8))
    image = cropped(whole, (1, 1, 1), (5, 6, 7))
    empty = np.zeros_like(whole.array)
    empty[0, 1:5, 1:6, 1:7] = image.array[0]
    assert np.array_equal(loaded(a_pair(tmp_path, image, replace(whole, array=empty))).array, image.array)
    empty[0, 0, 0, 0] = 1
    with pytest.raises(InputError, match="1 labelled voxels outside of its image"):
        loaded(a_pair(tmp_path, image, replace(whole, array=empty)))


@pytest.mark.parametrize("middle", [False, True])
def test_a_mask_of_another_shape_without_a_place_is_not_placed(middle: bool, tmp_path: Path) -> None:
    given = replace(
        volume("zyx", shape=(5, 5, 7)),
        spacing=(1.0, 1.0, 1.0),
        origin=(0.0, 0.0, 0.0),
        direction=tuple(np.eye(3).ravel()),
    )
    part = replace(given, array=given.array[:, :3, :3, :5])
    if middle:
        given, part = replace(given, origin=(-3.0, -2.0, -2.0)), replace(part, origin=(-2.0, -1.0, -1.0))
    with pytest.raises(InputError, match="has shape"):
        loaded(a_pair(tmp_path, given, part))


@pytest.mark.parametrize("seed", range(4))
def test_a_slice_of_a_volume_keeps_which_way_round_it_lies(seed: int, tmp_path: Path) -> None:
    given = replace(volume("zyx", seed=seed, shape=(1, 5, 7)), direction=tuple(rotation(3, seed).ravel()))
    turned = reoriented(given, (0, 1, 2), (False, True, False))
    a_pair(tmp_path, given, turned)
    dataset = open_dataset(tmp_path)
    assert dataset.axes == "yx"
    np.testing.assert_array_equal(load_case(dataset, dataset.cases[0])[1][0].array, given.array[0])


def test_channels_are_reoriented_to_the_first_and_rounding_is_said(tmp_path: Path) -> None:
    given = [volume("zyx", "image", seed=2) for _ in range(2)]
    given[1] = replace(given[1], array=given[1].array[:, ::-1].copy())
    first = save_volume(tmp_path / "a_0000.nii.gz", given[0])
    second = save_volume(tmp_path / "a_0001.mha", reoriented(given[1], (1, 0, 2), (False, True, True)))
    merged = read_channels([first, second])
    np.testing.assert_array_equal(merged.array, np.concatenate([one.array for one in given]))
    assert "channel 1 is stored in another orientation" in merged.notes[0]
    step = given[0].spacing[2] * np.reshape(given[0].direction, (3, 3))[:, 0]
    near = replace(given[0], origin=tuple((np.asarray(given[0].origin) + 0.05 * step).tolist()))
    assert "0.05 voxels" in read_channels([first, save_volume(tmp_path / "b.mha", near)]).notes[0]
    far = replace(given[0], origin=tuple((np.asarray(given[0].origin) + 0.2 * step).tolist()))
    with pytest.raises(InputError, match=r"0\.2 voxels away from its first channel a_0000"):
        read_channels([first, save_volume(tmp_path / "b.mha", far)])
    assert read_channels([first, tmp_path / "b.mha"], None, geometry_tolerance=0.3).notes
    assert read_volume(first, "image").notes == ()
