"""One label map from those of several raters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ldseg.metrics.masks import Mask

Labels = NDArray[np.integer]


def majority(raters: Sequence[Labels], structures: Sequence[int]) -> Labels:
    """Each voxel's structure where more than half of the raters say so, else 0 (ties of two raters are 0)."""
    fused = np.zeros_like(raters[0])
    for structure in structures:
        fused[_majority([one == structure for one in raters])] = structure
    return fused


def staple(raters: Sequence[Labels], structures: Sequence[int]) -> Labels:
    """The likeliest map when each rater has a sensitivity and specificity (STAPLE, Warfield et al. 2004).

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
    return 2 * np.sum(masks, axis=0) > len(masks)


def _staple(masks: Sequence[Mask]) -> NDArray[np.float64]:
    """Probability of the structure, the masks' shape."""
    images = [sitk.GetImageFromArray(mask.reshape(1, -1).astype(np.uint8)) for mask in masks]
    probability = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    return probability.reshape(masks[0].shape).astype(np.float64)
