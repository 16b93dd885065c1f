"""All 48 ways in which a volume can lie."""

from itertools import permutations, product

import numpy as np
import pytest
from preprocessing_grids import plan, volume

from ldseg.planning.orientation import orientation_of
from ldseg.preprocessing.orient import from_canonical, to_canonical
from ldseg.preprocessing.preprocess import grid_transform, preprocess_labels, restore_labels

ALL_48 = [
    np.eye(3)[:, order] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


@pytest.mark.parametrize("direction", ALL_48)
def test_every_orientation_comes_back_bit_equal(direction: np.ndarray) -> None:
    array = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    lies = orientation_of(volume(array, direction=direction))
    canonical = to_canonical(array, lies)
    assert canonical.shape[1:] == lies.permuted((3, 4, 5))
    np.testing.assert_array_equal(from_canonical(canonical, lies), array)


@pytest.mark.parametrize("direction", ALL_48)
def test_the_same_body_in_any_orientation_is_one_canonical_array(direction: np.ndarray) -> None:
    body = np.arange(3 * 4 * 5).reshape(3, 4, 5)  # canonical: z, y, x
    # the file's array holds at (k, j, i) the body's voxel direction @ (i, j, k), counted from its corner
    sizes = np.array([5, 4, 3])
    file_sizes = np.abs(direction).T @ sizes
    file = np.zeros(tuple(int(n) for n in file_sizes[::-1]), dtype=int)
    for k, j, i in np.ndindex(file.shape):
        at = direction @ np.array([i, j, k])
        x, y, z = (
            int(v + (n - 1 if d < 0 else 0)) for v, n, d in zip(at, sizes, direction.sum(1), strict=True)
        )
        file[k, j, i] = body[z, y, x]
    lies = orientation_of(volume(file[None], direction=direction))
    np.testing.assert_array_equal(to_canonical(file[None], lies)[0], body)


@pytest.mark.parametrize("direction", ALL_48)
def test_labels_pass_any_orientation_bit_equal(direction: np.ndarray) -> None:
    ids = np.random.default_rng(1).choice([0, 1, 4], size=(1, 3, 4, 5)).astype(np.uint8)
    labels = volume(ids, direction=direction, kind="labels")
    made = plan()
    restored = restore_labels(preprocess_labels(labels, made), grid_transform(labels, made), made)
    np.testing.assert_array_equal(restored, ids)
    assert restored.dtype == np.uint8
