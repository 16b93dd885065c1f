"""A loss term: the focal Tversky loss, which looks after small structures (Abraham & Khan 2019)."""

from __future__ import annotations

from torch import Tensor

from ldseg.networks.label_encoders.base import one_hot

MISSED, FALSE, FOCUS, SMOOTH = 0.7, 0.3, 0.75, 1.0


def focal_tversky(logits: Tensor, y: Tensor) -> Tensor:
    """Return the mean of (1 - Tversky index)^FOCUS over the foreground classes.

    logits (B, K, *S); y (B, *S) class indices, negative where ignored.
    """
    truth = one_hot(y, logits.shape[1])[:, 1:]
    found = logits.softmax(1)[:, 1:] * (y >= 0)[:, None]
    axes = (0, *range(2, logits.ndim))
    overlap = (found * truth).sum(axes)
    missed, false = truth.sum(axes) - overlap, found.sum(axes) - overlap
    index = (overlap + SMOOTH) / (overlap + MISSED * missed + FALSE * false + SMOOTH)
    return (1 - index).clamp_min(1e-6).pow(FOCUS).mean()
