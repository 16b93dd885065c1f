"""Intensities to about zero mean and unit deviation, by each channel's plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ldseg.planning.plan import ChannelPlan

_FLAT = 1e-6
"""A deviation below this share of the largest intensity is rounding, not content."""


def normalise(array: NDArray[np.float32], channels: Sequence[ChannelPlan]) -> NDArray[np.float32]:
    """Return `array` (M, *S) normalised channel by channel; a constant image becomes 0, never nan."""
    return np.stack([_normalise_channel(one, plan) for one, plan in zip(array, channels, strict=True)])


def _normalise_channel(values: NDArray[np.float32], plan: ChannelPlan) -> NDArray[np.float32]:
    if plan.scheme == "zscore":
        return _standardise(values, float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)))
    clipped = np.clip(values, plan.low, plan.high)
    if plan.scheme == "foreground":
        return _standardise(clipped, plan.mean, plan.deviation)
    extent = plan.high - plan.low
    return _standardise(clipped, plan.low + 0.5 * extent, 0.25 * extent)


def _standardise(values: NDArray[np.float32], mean: float, deviation: float) -> NDArray[np.float32]:
    scale = max(abs(float(values.min())), abs(float(values.max())))
    if deviation <= _FLAT * scale or deviation == 0:
        deviation = max(scale, 1.0)
    return ((values - np.float32(mean)) / np.float32(deviation)).astype(np.float32, copy=False)
