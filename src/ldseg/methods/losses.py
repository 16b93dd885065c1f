"""Cross-entropy and soft Dice of logits against a label map, with ignored voxels left out.

logits (B, K, *S); y (B, *S) class indices, negative where ignored.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ldseg.networks.label_encoders.base import one_hot
from ldseg.settings import LossSettings

_NOT_ZERO = 1e-6
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


def joint_dice_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Return 1 - 2 sum(y p) / (sum y + sum p + 1e-6), sums over the batch and all classes (Zaman et al.
    2026)."""
    truth = one_hot(y, logits.shape[1])
    probabilities = logits.softmax(1) * (y >= 0)[:, None]
    return 1 - 2 * (truth * probabilities).sum() / (truth.sum() + probabilities.sum() + _NOT_ZERO)


_DICE_LOSSES = {"foreground": dice_loss, "joint": joint_dice_loss}
"""By `loss.dice_form`."""


def segmentation_loss(logits: Tensor, y: Tensor, settings: LossSettings) -> Tensor:
    """Return CE + w_d (1 - Dice), with the weight and the form of Dice of the settings."""
    logits = logits.to(torch.float32)
    return cross_entropy(logits, y) + settings.dice * _DICE_LOSSES[settings.dice_form](logits, y)
