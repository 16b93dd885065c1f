"""Cross-entropy and soft Dice of logits against a label map, with ignored voxels left out.

logits (B, K, *S); y (B, *S) class indices, negative where ignored.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ldseg.networks.label_encoders.base import one_hot

_SMOOTH = 1.0  # voxels; a class that neither has is a Dice of 1, and a stray voxel costs little


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean over labelled voxels; 0 where a batch has none."""
    total = functional.cross_entropy(logits, y.clamp_min(-1).long(), ignore_index=-1, reduction="sum")
    return total / (y >= 0).sum().clamp_min(1)


def dice_loss(logits: Tensor, y: Tensor) -> Tensor:
    """1 - soft Dice, mean over the foreground classes; sums run over the whole batch (less noisy for rare
    classes than a mean over cases)."""
    truth = one_hot(y, logits.shape[1])[:, 1:]
    probabilities = logits.softmax(1)[:, 1:] * (y >= 0)[:, None]
    axes = (0, *range(2, logits.ndim))
    overlap = (probabilities * truth).sum(axes)
    size = probabilities.sum(axes) + truth.sum(axes)
    return 1 - ((2 * overlap + _SMOOTH) / (size + _SMOOTH)).mean()


def segmentation_loss(logits: Tensor, y: Tensor, dice_weight: float) -> Tensor:
    """CE + w_d (1 - Dice)."""
    logits = logits.to(torch.float32)
    return cross_entropy(logits, y) + dice_weight * dice_loss(logits, y)
