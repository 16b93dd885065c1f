"""Fuse the label maps of several raters into one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ldseg.metrics.masks import Mask

Labels = NDArray[np.integer]


def majority(raters: Sequence[Labels], structures: Sequence[int]) -> Labels:
    """Return the structure that more than half of the raters give each voxel, else 0 (also for ties)."""
    fused = np.zeros_like(raters[0])
    for structure in structures:
        fused[_majority([one == structure for one in raters])] = structure
    return fused


def staple(raters: Sequence[Labels], structures: Sequence[int]) -> Labels:
    """Return the likeliest label map, estimating each rater's sensitivity and specificity.

    STAPLE, Warfield et al. 2004.

    Structure by structure, the likeliest one where several claim a voxel; 0 where none has a probability
    above one half. Maps of any shape. A structure that fewer than two raters see anywhere, or that all see
    alike, leaves nothing to estimate and is decided by majority.
    """
    fused, best = np.zeros_like(raters[0]), np.full(raters[0].shape, 0.5)
    for structure in structures:
        masks = [one == structure for one in raters]
        alike = all(np.array_equal(mask, masks[0]) for mask in masks)
        estimable = sum(mask.any() for mask in masks) >= 2 and not alike
        probability = _staple(masks) if estimable else _majority(masks).astype(np.float64)
        chosen = probability > best
        fused[chosen], best[chosen] = structure, probability[chosen]
    return fused


def _majority(masks: Sequence[Mask]) -> Mask:
    """Return the voxels that more than half of the masks hold."""
    return 2 * np.sum(masks, axis=0) > len(masks)


def _staple(masks: Sequence[Mask]) -> NDArray[np.float64]:
    """Return the probability of the structure, of the masks' shape."""
    import SimpleITK as sitk  # imported here: it takes long to load, and few commands fuse raters

    images = [sitk.GetImageFromArray(mask.reshape(1, -1).astype(np.uint8)) for mask in masks]
    probability = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    return probability.reshape(masks[0].shape).astype(np.float64)
