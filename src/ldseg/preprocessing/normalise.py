"""Intensities to about zero mean and unit deviation, by each channel's plan. Slab by slab, for memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, prod, sqrt

import numpy as np
from numpy.typing import NDArray

from ldseg.planning.plan import ChannelPlan

_FLAT = 1e-6
"""A deviation below this share of the largest intensity is rounding, not content."""
_SLAB = 2**16
"""Voxels of a slab, about: few enough for the processor's cache, enough to make a call worth its cost."""


@dataclass(frozen=True)
class Scale:
    """What is done to the intensities of one channel: clipped, shifted and divided."""

    low: float
    high: float
    mean: float
    deviation: float

    def apply(self, values: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Normalise `values` into `out`, of the same shape."""
        np.clip(values, self.low, self.high, out=out)
        out -= np.float32(self.mean)
        out /= np.float32(self.deviation)


def normalise(array: NDArray[np.float32], channels: Sequence[ChannelPlan]) -> NDArray[np.float32]:
    """Return `array` (M, *S) normalised channel by channel; a constant image becomes 0, never nan."""
    result = np.empty(array.shape, dtype=np.float32)
    for values, plan, target in zip(array, channels, result, strict=True):
        scale = find_scale(plan, _slabs(values))
        for slab, out in zip(_slabs(values), _slabs(target), strict=True):
            scale.apply(slab, out)
    return result


def _slabs(values: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """`values` cut across the first axis."""
    thickness = max(1, _SLAB // max(1, prod(values.shape[1:])))
    for start in range(0, len(values), thickness):
        yield values[start : start + thickness]


def find_scale(plan: ChannelPlan, slabs: Iterable[NDArray[np.float32]]) -> Scale:
    """The scale of a channel of an image that comes in `slabs`."""
    low, high = (-inf, inf) if plan.scheme == "zscore" else (plan.low, plan.high)
    mean, deviation, largest = _moments(slabs, low, high)
    if plan.scheme == "foreground":
        mean, deviation = plan.mean, plan.deviation
    elif plan.scheme == "range":
        mean, deviation = plan.low + 0.5 * (plan.high - plan.low), 0.25 * (plan.high - plan.low)
    if deviation <= _FLAT * largest or deviation == 0:
        deviation = max(largest, 1.0)
    return Scale(low, high, mean, deviation)


def _moments(slabs: Iterable[NDArray[np.float32]], low: float, high: float) -> tuple[float, float, float]:
    """Mean, deviation and largest absolute value of all clipped slabs."""
    count = 0
    total = squares = shift = largest = 0.0
    for slab in slabs:
        values = np.clip(slab, low, high).astype(np.float64).ravel()
        if count == 0:
            shift = float(values.mean())  # the sum of squares about a value near the mean loses no digits
        largest = max(largest, float(values.max()), -float(values.min()))
        values -= shift
        count, total = count + values.size, total + float(values.sum())
        squares += float(np.square(values, out=values).sum())
    centre = total / max(1, count)
    return shift + centre, sqrt(max(0.0, squares / max(1, count) - centre**2)), largest
