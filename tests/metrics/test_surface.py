"""Surface distances against a brute-force count, known geometry, and rules for empty and ignored voxels."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from ldseg.data.volume import Axes
from ldseg.metrics.masks import Mask, mask_pair
from ldseg.metrics.surface import surface_metrics, surface_points


def scores(
    prediction: Mask,
    reference: Mask,
    spacing: tuple[float, ...],
    axes: Axes = "zyx",
    valid: Mask | None = None,
    tolerance_mm: float = 1.0,
) -> dict[str, float]:
    everywhere = np.ones(reference.shape, dtype=bool)
    known = everywhere if valid is None else valid
    return surface_metrics(mask_pair(prediction, reference, known, spacing, axes, tolerance_mm))


def box(shape: tuple[int, ...], *sides: tuple[int, int]) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def brute_surface(mask: Mask, spacing: tuple[float, ...]) -> np.ndarray:
    """Every voxel of the mask with a face neighbour that is not in it, one by one."""
    found = []
    for index in product(*map(range, mask.shape)):
        if not mask[index]:
            continue
        for axis, step in product(range(mask.ndim), (-1, 1)):
            neighbour = list(index)
            neighbour[axis] += step
            inside = 0 <= neighbour[axis] < mask.shape[axis]
            if not inside or not mask[tuple(neighbour)]:
                found.append(np.array(index) * spacing)
                break
    return np.array(found)


def brute_scores(a: Mask, b: Mask, spacing: tuple[float, ...], tolerance: float) -> dict[str, float]:
    first, second = brute_surface(a, spacing), brute_surface(b, spacing)
    apart = np.linalg.norm(first[:, None] - second[None], axis=-1)
    there, back = apart.min(axis=1), apart.min(axis=0)
    both = np.concatenate([there, back])
    return {
        "hd95_mm": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd_mm": both.mean(),
        "nsd": (both <= tolerance).mean(),
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "shape, spacing, axes", [((9, 11), (0.7, 1.3), "yx"), ((5, 7, 6), (3.0, 0.9, 0.5), "zyx")]
)
def test_distances_equal_a_brute_force_count(
    shape: tuple[int, ...], spacing: tuple[float, ...], axes: Axes, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    a, b = draw.random(shape) < 0.35, draw.random(shape) < 0.35
    assert scores(a, b, spacing, axes) == pytest.approx(brute_scores(a, b, spacing, 1.0))


def test_a_shifted_box_is_as_far_as_its_shift() -> None:
    a = box((20, 20, 20), (5, 10), (5, 10), (5, 10))
    b = box((20, 20, 20), (7, 12), (5, 10), (5, 10))
    assert scores(a, b, (1.5, 1.0, 1.0))["hd95_mm"] == pytest.approx(3.0)


def test_the_order_of_prediction_and_reference_does_not_matter() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.random((8, 9, 7)) < 0.2, draw.random((8, 9, 7)) < 0.5
    assert scores(a, b, (1.0, 2.0, 0.5)) == pytest.approx(scores(b, a, (1.0, 2.0, 0.5)))


def test_distances_grow_with_the_spacing() -> None:
    draw = np.random.default_rng(1)
    a, b = draw.random((12, 12)) < 0.3, draw.random((12, 12)) < 0.3
    near, far = scores(a, b, (1.0, 1.0), "yx"), scores(a, b, (3.0, 3.0), "yx")
    assert far["hd95_mm"] == pytest.approx(3 * near["hd95_mm"])
    assert far["assd_mm"] == pytest.approx(3 * near["assd_mm"])


def test_the_tolerance_includes_its_own_length() -> None:
    a, b = box((20, 20), (5, 15), (5, 15)), box((20, 20), (5, 15), (8, 18))
    spacing = (0.1, 0.1)
    assert scores(a, b, spacing, "yx", tolerance_mm=0.3)["nsd"] == 1.0
    assert scores(a, b, spacing, "yx", tolerance_mm=0.2)["nsd"] < 1.0


def test_two_empty_masks_agree() -> None:
    nothing = np.zeros((4, 4, 4), dtype=bool)
    assert scores(nothing, nothing, (1.0, 1.0, 1.0)) == {"hd95_mm": 0.0, "assd_mm": 0.0, "nsd": 1.0}


@pytest.mark.parametrize("missing", ["prediction", "reference"])
def test_one_empty_mask_costs_the_diagonal(missing: str) -> None:
    nothing, something = np.zeros((3, 4), dtype=bool), box((3, 4), (0, 1), (0, 1))
    pair = (nothing, something) if missing == "prediction" else (something, nothing)
    assert scores(*pair, (2.0, 2.0), "yx") == {"hd95_mm": 10.0, "assd_mm": 10.0, "nsd": 0.0}


def test_no_real_pair_is_as_far_as_a_missing_one() -> None:
    a, b = box((3, 4), (0, 1), (0, 1)), box((3, 4), (2, 3), (3, 4))
    nothing = np.zeros((3, 4), dtype=bool)
    assert scores(a, b, (1.0, 1.0), "yx")["hd95_mm"] < scores(nothing, b, (1.0, 1.0), "yx")["hd95_mm"]


def test_an_ignored_voxel_makes_no_surface() -> None:
    whole = box((8, 10), (1, 7), (1, 9))
    valid = np.ones((8, 10), dtype=bool)
    valid[:, 5:] = False
    points = surface_points(whole & valid, valid, (1.0, 1.0))
    inner_edge = points[(points[:, 1] == 4) & (points[:, 0] > 1) & (points[:, 0] < 6)]
    assert len(inner_edge) == 0
    assert len(points) > 0


def test_what_lies_under_the_ignore_id_changes_nothing() -> None:
    draw = np.random.default_rng(3)
    reference, prediction = draw.random((10, 10)) < 0.4, draw.random((10, 10)) < 0.4
    valid = np.ones((10, 10), dtype=bool)
    valid[3:6, 2:7] = False
    other = np.where(valid, prediction, ~prediction)
    assert scores(prediction, reference, (1.0, 1.0), "yx", valid) == scores(
        other, reference, (1.0, 1.0), "yx", valid
    )


def test_a_mask_hemmed_in_by_ignored_voxels_is_still_compared() -> None:
    reference = box((12, 12), (4, 7), (4, 7))
    valid = ~(box((12, 12), (2, 9), (2, 9)) & ~reference)
    stray = box((12, 12), (0, 1), (0, 1))
    assert scores(reference, reference, (1.0, 1.0), "yx", valid)["nsd"] == 1.0
    assert 0 < scores(stray, reference, (1.0, 1.0), "yx", valid)["hd95_mm"] < np.hypot(12, 12)


def test_over_time_each_frame_counts_alone() -> None:
    """A frame off by one pixel and a frame that fits: the mean of the two, in the in-plane spacing."""
    reference = box((2, 16, 16), (0, 2), (4, 10), (4, 10))
    prediction = reference.copy()
    prediction[1] = box((16, 16), (4, 10), (7, 13))
    alone = scores(prediction[1], reference[1], (0.5, 0.5), "yx")
    together = scores(prediction, reference, (25.0, 0.5, 0.5), "tyx")
    assert together["assd_mm"] == pytest.approx(alone["assd_mm"] / 2)
    assert together["nsd"] == pytest.approx((1 + alone["nsd"]) / 2)


def test_over_time_ignored_and_empty_frames_are_left_out() -> None:
    reference = box((4, 16, 16), (0, 2), (4, 10), (4, 10))
    prediction = box((4, 16, 16), (0, 2), (4, 10), (5, 11))
    prediction[2, :3, :3] = True
    valid = np.ones((4, 16, 16), dtype=bool)
    valid[2] = False
    first = scores(prediction[0], reference[0], (1.0, 1.0), "yx")
    assert scores(prediction, reference, (1.0, 1.0, 1.0), "tyx", valid) == pytest.approx(first)


def test_distances_without_a_physical_spacing_are_named_by_pixels() -> None:
    a = np.zeros((8, 8), bool)
    a[2:5, 2:5] = True
    found = surface_metrics(
        mask_pair(a, np.roll(a, 1, 0), np.ones_like(a), (1.0, 1.0), "yx", 1.0, physical=False)
    )
    assert set(found) >= {"hd95_px", "assd_px", "nsd"}
    assert not [name for name in found if name.endswith("_mm")]
    assert found["hd95_px"] == 1.0
