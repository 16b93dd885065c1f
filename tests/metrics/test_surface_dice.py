"""Surface Dice by area against MONAI's, known geometry, and rules for empty and ignored voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics.surface_dice import compute_surface_dice

from ldseg.data.volume import Axes
from ldseg.metrics.masks import Mask, mask_pair
from ldseg.metrics.surface_dice import surface_dice_metric


def surface_dice(
    prediction: Mask,
    reference: Mask,
    spacing: tuple[float, ...] = (1.0, 1.0),
    axes: Axes = "yx",
    valid: Mask | None = None,
    tolerance: float = 1.0,
) -> float:
    known = np.ones(reference.shape, dtype=bool) if valid is None else valid
    return surface_dice_metric(mask_pair(prediction, reference, known, spacing, axes, tolerance))[
        "surface_dice"
    ]


def blob(shape: tuple[int, ...], seed: int) -> Mask:
    """Return an irregular mask that keeps off the edge of the image."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.indices(shape), -1) - np.array(shape) / 2 - rng.uniform(-1, 1, len(shape))
    distance = np.linalg.norm(grid, axis=-1) + rng.normal(0, 0.7, shape)
    mask = distance < min(shape) / 3
    mask[[0, -1]] = False
    return mask


def square(*sides: tuple[int, int], shape: tuple[int, ...] = (30, 30)) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    ("shape", "spacing"), [((24, 31), (1.0, 1.0)), ((24, 31), (0.7, 1.6)), ((16, 18, 20), (2.5, 0.8, 0.8))]
)
def test_it_is_monais_with_subvoxels(
    shape: tuple[int, ...], spacing: tuple[float, ...], tolerance: float
) -> None:
    a, b = blob(shape, 1), blob(shape, 2)
    both = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (a, b)]
    wanted = compute_surface_dice(
        *both, [tolerance], include_background=True, spacing=list(spacing), use_subvoxels=True
    )
    axes: Axes = "yx" if len(shape) == 2 else "zyx"
    assert surface_dice(a, b, spacing, axes, tolerance=tolerance) == pytest.approx(float(wanted), abs=1e-6)


def test_equal_masks_have_one_also_at_the_edge_of_the_image() -> None:
    mask = square((0, 12), (20, 30))
    assert surface_dice(mask, mask, tolerance=0.1) == 1


def test_a_shift_within_the_tolerance_costs_nothing_and_beyond_it_the_sides_across() -> None:
    a, b = square((5, 25), (5, 25)), square((7, 27), (5, 25))
    assert surface_dice(a, b, tolerance=2.0) == 1
    assert surface_dice(a, b, tolerance=1.0) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("prediction", "reference", "wanted"), [(0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.0)])
def test_empty_masks_follow_the_rule_of_the_other_surface_metrics(
    prediction: int, reference: int, wanted: float
) -> None:
    masks = [np.zeros((30, 30), dtype=bool), square((5, 9), (5, 9))]
    assert surface_dice(masks[prediction], masks[reference]) == wanted


def test_where_annotation_ends_is_no_surface() -> None:
    reference, prediction = square((0, 15), (5, 25)), square((0, 30), (5, 25))
    valid = square((0, 15), (0, 30))
    assert surface_dice(prediction, reference, valid=valid, tolerance=0.1) == 1


def test_cine_is_measured_per_frame_with_the_in_plane_spacing() -> None:
    still, moved = square((5, 25), (5, 25)), square((9, 29), (5, 25))
    both = surface_dice(np.stack([still, moved]), np.stack([still, still]), (7.0, 1.0, 1.0), "tyx")
    assert both == pytest.approx((1 + surface_dice(moved, still)) / 2)
