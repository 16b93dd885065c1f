"""Terms of the segmentation loss of logits against a label map, with ignored voxels left out.

logits (B, K, *S) float32; y (B, *S) class indices, negative where ignored. A new term is a function here and
a line in `LOSS_TERMS`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ldseg.networks.label_encoders.base import one_hot
from ldseg.settings import LossSettings
from ldseg.utils.registry import Registry

LossTerm = Callable[[Tensor, Tensor], Tensor]
"""A function of logits and y to a scalar, smaller where the logits are better; finite without any labels."""

_NOT_ZERO = 1e-6
_SMOOTH = 1.0  # voxels; a class that neither has is a Dice of 1, and a stray voxel costs little
_FALSE_POSITIVES, _FALSE_NEGATIVES = 0.3, 0.7
"""Costs in the Tversky index (Salehi et al. 2017, section 3: the best found there)."""
_EDGE, _NEAR = 3, 5
"""Windows in voxels: width of an edge, and reach within which two edges match."""


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean over labelled voxels; 0 where a batch has none."""
    total = functional.cross_entropy(logits, y.clamp_min(-1).long(), ignore_index=-1, reduction="sum")
    return total / (y >= 0).sum().clamp_min(1)


def dice_loss(logits: Tensor, y: Tensor) -> Tensor:
    """1 - soft Dice, mean over the foreground classes; sums run over the whole batch (less noisy for rare
    classes than a mean over cases)."""
    probabilities, truth, axes = _foreground(logits, y)
    overlap = (probabilities * truth).sum(axes)
    size = probabilities.sum(axes) + truth.sum(axes)
    return 1 - ((2 * overlap + _SMOOTH) / (size + _SMOOTH)).mean()


def joint_dice_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Return 1 - 2 sum(y p) / (sum y + sum p + 1e-6), sums over the batch and all classes (Zaman et al.
    2026)."""
    truth = one_hot(y, logits.shape[1])
    probabilities = logits.softmax(1) * (y >= 0)[:, None]
    return 1 - 2 * (truth * probabilities).sum() / (truth.sum() + probabilities.sum() + _NOT_ZERO)


def tversky_loss(logits: Tensor, y: Tensor) -> Tensor:
    """1 - Tversky index, mean over the foreground classes: as Dice, but a missed voxel costs more than a
    false one (Salehi et al. 2017, equation 4)."""
    probabilities, truth, axes = _foreground(logits, y)
    overlap = (probabilities * truth).sum(axes)
    false_positives = _FALSE_POSITIVES * (probabilities.sum(axes) - overlap)
    false_negatives = _FALSE_NEGATIVES * (truth.sum(axes) - overlap)
    return 1 - ((overlap + _SMOOTH) / (overlap + false_positives + false_negatives + _SMOOTH)).mean()


def boundary_loss(logits: Tensor, y: Tensor) -> Tensor:
    """1 - F1 score of the boundaries of predicted and labelled structures, mean over the foreground classes;
    boundaries within two voxels match (Bokhovkin & Burnaev 2019)."""
    probabilities, truth, axes = _foreground(logits, y)
    edges, true_edges = _edges(probabilities), _edges(truth)
    precision = _share((edges * _dilate(true_edges, _NEAR)).sum(axes), edges.sum(axes))
    recall = _share((true_edges * _dilate(edges, _NEAR)).sum(axes), true_edges.sum(axes))
    return 1 - (2 * precision * recall / (precision + recall)).mean()


LOSS_TERMS: Registry[LossTerm] = Registry(
    "loss.terms",
    {
        "cross_entropy": cross_entropy,
        "dice": dice_loss,
        "joint_dice": joint_dice_loss,
        "tversky": tversky_loss,
        "boundary": boundary_loss,
    },
)


def segmentation_loss(logits: Tensor, y: Tensor, settings: LossSettings) -> Tensor:
    """Return the weighted sum of the terms in `settings`."""
    logits = logits.to(torch.float32)
    dice = "dice" if settings.dice_form == "foreground" else "joint_dice"
    weights = {"cross_entropy": settings.cross_entropy, dice: settings.dice, **settings.terms}
    terms = [weight * LOSS_TERMS.find(name)(logits, y) for name, weight in weights.items() if weight > 0]
    return torch.stack(terms).sum()


def _foreground(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Return probabilities and one-hot labels (B, K - 1, *S) of the structures, 0 where ignored, and the axes
    of a sum over cases and voxels."""
    truth = one_hot(y, logits.shape[1])[:, 1:]
    probabilities = logits.softmax(1)[:, 1:] * (y >= 0)[:, None]
    return probabilities, truth, (0, *range(2, logits.ndim))


def _dilate(maps: Tensor, width: int) -> Tensor:
    """Return the largest value within a window of `width` voxels around each voxel."""
    pool = functional.max_pool2d if maps.ndim == 4 else functional.max_pool3d
    return pool(maps, width, stride=1, padding=width // 2)


def _edges(maps: Tensor) -> Tensor:
    """Return how much each voxel is of a structure and beside its outside."""
    return _dilate(1 - maps, _EDGE) - (1 - maps)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole; 1 where there is nothing of both."""
    return (part + _SMOOTH) / (whole + _SMOOTH)
