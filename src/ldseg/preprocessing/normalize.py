"""Normalize intensities to about zero mean and unit deviation by each channel's plan, slab by slab."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf, prod, sqrt

import numpy as np
from numpy.typing import NDArray

from ldseg.planning.plan import ChannelPlan

OWN_SCALE = ("zscore", "minmax", "unit")
"""Schemes that use statistics of the image itself, whose intensities have no common scale."""
FLAT = 1e-6
"""A deviation below this share of the largest intensity is rounding, not content."""
_SLAB = 2**16
"""Voxels of a slab, about: few enough for the processor's cache, enough to make a call worth its cost."""


@dataclass(frozen=True)
class Scale:
    """Clipping range, shift and divisor of one channel."""

    low: float
    high: float
    mean: float
    deviation: float

    def apply(self, values: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Normalise `values` into `out`, of the same shape."""
        np.clip(values, self.low, self.high, out=out)
        out -= np.float32(self.mean)
        out /= np.float32(self.deviation)


def normalize(array: NDArray[np.float32], channels: Sequence[ChannelPlan]) -> NDArray[np.float32]:
    """Return `array` (M, *S) normalized channel by channel; a constant image becomes 0, never nan."""
    result = np.empty(array.shape, dtype=np.float32)
    for values, plan, target in zip(array, channels, result, strict=True):
        measured = [array[n] for n in channels_measured(plan, channels)] or [values]
        scale = find_scale(plan, chain.from_iterable(slabs(one) for one in measured))
        for slab, out in zip(slabs(values), slabs(target), strict=True):
            scale.apply(slab, out)
    return result


def channels_measured(plan: ChannelPlan, channels: Sequence[ChannelPlan]) -> list[int]:
    """Return the channels whose values the scale of one of them depends on together; empty if on its own."""
    return [n for n, other in enumerate(channels) if other.scheme == "unit"] if plan.scheme == "unit" else []


def slabs(values: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield `values` in slabs across the first axis."""
    thickness = max(1, _SLAB // max(1, prod(values.shape[1:])))
    for start in range(0, len(values), thickness):
        yield values[start : start + thickness]


def find_scale(plan: ChannelPlan, slabs: Iterable[NDArray[np.float32]]) -> Scale:
    """Return the scale of a channel of an image that comes in `slabs`."""
    if plan.scheme == "none":
        return Scale(-inf, inf, 0.0, 1.0)
    own = plan.scheme in OWN_SCALE
    low, high = (-inf, inf) if own else (plan.low, plan.high)
    found = _moments(slabs, low, high)
    mean, deviation = found.mean, found.deviation
    largest = max(found.high, -found.low)
    if plan.scheme == "foreground":
        mean, deviation = plan.mean, plan.deviation
    elif plan.scheme == "unit":
        mean, deviation = found.low, found.high - found.low
    elif plan.scheme in ("range", "minmax"):
        bounds = (found.low, found.high) if own else (low, high)
        mean, deviation = bounds[0] + 0.5 * (bounds[1] - bounds[0]), 0.25 * (bounds[1] - bounds[0])
    if deviation <= FLAT * largest or deviation == 0:
        deviation = max(largest, 1.0)
    return Scale(low, high, mean, deviation)


@dataclass(frozen=True)
class _Moments:
    """Mean, deviation, least and largest value."""

    mean: float
    deviation: float
    low: float
    high: float


def _moments(slabs: Iterable[NDArray[np.float32]], low: float, high: float) -> _Moments:
    """Return the moments of all clipped slabs."""
    count = 0
    total = squares = shift = 0.0
    least, largest = inf, -inf
    for slab in slabs:
        values = np.clip(slab, low, high).astype(np.float64).ravel()
        if count == 0:
            shift = float(values.mean())  # the sum of squares about a value near the mean loses no digits
        least, largest = min(least, float(values.min())), max(largest, float(values.max()))
        values -= shift
        count, total = count + values.size, total + float(values.sum())
        squares += float(np.square(values, out=values).sum())
    centre = total / max(1, count)
    deviation = sqrt(max(0.0, squares / max(1, count) - centre**2))
    return _Moments(shift + centre, deviation, least, largest)
