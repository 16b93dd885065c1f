"""Brings an image that looks unlike all training images nearer to them before it is segmented.

A network is at home among images like those of its training. One with far more fine detail than these is
noisy, one with far less is blurred, and one with other intensities is of another contrast. Bands of detail
are scaled to the edge of what is usual, then intensities are raised to a power. An image near to what is
usual stays as it is, to the last bit; whether the changed image of another one is segmented, or the image as
it is, is decided by the answers (`inference.steadiness`). M channels; *S' the network's grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ldseg.planning.intensity_statistics import ChannelStatistics, ReferenceRange
from ldseg.planning.plan import ChannelPlan, Plan
from ldseg.preprocessing.intensity_statistics import (
    BLUR_REACH,
    Array,
    Numbers,
    band_widths,
    bands,
    detail_of,
    intensities_of,
)
from ldseg.preprocessing.normalize import OWN_SCALE, normalize
from ldseg.preprocessing.preprocess import PreprocessedImage

NOISY, BLURRED, CONTRAST, INVERTED = "noisier", "more blurred", "of another contrast", "inverted"
UNLIKE = (NOISY, BLURRED, CONTRAST, INVERTED)
"""What an image may be, compared with those of training."""
BEYOND, CLEARLY = 1.25, 1.5
"""Tolerances beyond which an image is changed, and named even where the change is not taken. Of 640 training
images of four sets that were compared with others of their set, 14 and 3 lay farther out."""
_NAMED = 2.0
"""Tolerances beyond which the intensities of images that keep them, as colours do, are named."""
_GREATEST_GAIN = 8.0
"""Of a band that blur has emptied: beyond it rounding and noise would be seen."""
_POWERS = 2.0 ** np.linspace(-2, 2, 41)
_SLAB = 64
"""Planes that are filtered at once."""


@dataclass(frozen=True)
class Harmonized:
    """An image that was brought nearer to the training images."""

    prepared: PreprocessedImage
    """The same as before where nothing was changed."""
    unlike: tuple[str, ...]
    """In which ways it was unlike the training images, of `UNLIKE`."""
    certain: tuple[str, ...] = ()
    """Those that hold even if the change is not taken."""


@dataclass
class Found:
    """The ways in which an image is unlike the training images, as they are found."""

    ways: set[str] = field(default_factory=set[str])
    farthest: float = 0.0
    """In tolerances; beyond `BEYOND` all of these ways are changed."""
    named: set[str] = field(default_factory=set[str])
    """Ways that nothing is done about."""

    def add(self, ways: Iterable[str], ratio: float) -> None:
        """Take in ways that lie so many tolerances from the mean."""
        self.ways.update(ways)
        self.farthest = max(self.farthest, ratio)

    def unlike(self, least: float = BEYOND) -> tuple[str, ...]:
        """Return what is to be told of an image that counts as unlike the others from `least` on."""
        told = self.named | (self.ways if self.farthest > least else set[str]())
        return tuple(way for way in UNLIKE if way in told)


def in_words(unlike: Sequence[str]) -> str:
    """Return the ways in which an image is unlike the training images, for a sentence about it."""
    compared = [way for way in unlike if way in (NOISY, BLURRED, CONTRAST)]
    parts = [f"is {', '.join(compared)} than the training images"] if compared else []
    if INVERTED in unlike:
        parts.append("seems to be inverted: dark where the training images are bright")
    return "; ".join([*parts, *(way for way in unlike if way not in UNLIKE)])


def harmonize(prepared: PreprocessedImage, plan: Plan) -> Harmonized:
    """Of an image prepared by `plan`, whose `appearance` says what is usual; where that is empty, all is.

    A channel that is constant has no look and stays as it is.
    """
    found = Found()
    before = list(prepared.array)
    looks = [(n, plan.channels[n], usual) for n, usual in enumerate(plan.appearance) if np.ptp(before[n]) > 0]
    channels = list(before)
    for n, _, usual in looks:
        channels[n] = _in_detail(before[n], plan, usual, found)
    for n, channel, usual in looks:
        # colours all together: one channel alone would change the hue
        if channels[n] is not before[n] or (found.ways and channel.scheme == "range"):
            channels[n] = _rescaled(channels[n], channel, usual.intensities)
    for n, channel, usual in looks:
        if channel.scheme in OWN_SCALE:
            channels[n] = _in_intensities(channels[n], channel, usual.intensities, found)
        elif channel.scheme == "range":
            name_intensities(intensities_of(before[n]), usual.intensities, found)
    changed = prepared
    if found.farthest > BEYOND and any(new is not old for new, old in zip(channels, before, strict=True)):
        changed = replace(prepared, array=np.stack(channels))
    return Harmonized(changed, found.unlike(), found.unlike(CLEARLY))


def _in_detail(values: Array, plan: Plan, usual: ChannelStatistics, found: Found) -> Array:
    """With each band of detail scaled to what is usual."""
    gains = gains_of(detail_of(values, plan), usual, found)
    return values if gains is None else filtered(values, plan, gains)


def gains_of(detail: Numbers, usual: ChannelStatistics, found: Found) -> Numbers | None:
    """Of each band; None where all is usual. What is too much is noise mostly: it is scaled as Wiener's
    filter does, by the share of the band's power that is usual."""
    off = _detail_beyond(detail, usual)
    if not off.any():
        return None
    ways = [name for name, there in ((NOISY, off.max() > 0), (BLURRED, off.min() < 0)) if there]
    found.add(ways, 1 + float((np.abs(off) / np.array(usual.detail.tolerance)).max()))
    return np.where(off > 0, np.exp(-2 * off), np.minimum(np.exp(-off), _GREATEST_GAIN))


def _in_intensities(values: Array, channel: ChannelPlan, usual: ReferenceRange, found: Found) -> Array:
    """Raised to the power that brings them nearest to the usual ones. Not where numbers mean something, as in
    CT or in the hue of a stain: it would change what they say."""
    low, high = float(values.min()), float(values.max())
    power = power_of(intensities_of(values), low, high, usual, found)
    if power is None:
        return values
    return normalize(raised(values, low, high, power)[None], (channel,))[0]


def power_of(ranks: Numbers, low: float, high: float, usual: ReferenceRange, found: Found) -> float | None:
    """To which intensities between `low` and `high` are raised; None where their ranks are usual, and where
    no power helps, for they are inverted."""
    ratio = _in_tolerances(ranks, usual)
    if ratio <= 1:
        return None
    if is_inverted(ranks, usual):
        found.named.add(INVERTED)
        return None
    found.add((CONTRAST,), ratio)
    return _nearest_power((ranks - low) / (high - low), usual)


def name_intensities(ranks: Numbers, usual: ReferenceRange, found: Found) -> None:
    """Name what is unusual in intensities that are never changed, for their numbers mean something."""
    if is_inverted(ranks, usual):
        found.named.add(INVERTED)
    elif _in_tolerances(ranks, usual) > _NAMED:
        found.named.add(CONTRAST)


def is_inverted(ranks: Numbers, usual: ReferenceRange) -> bool:
    """Return whether intensities are clearly unusual, and usual with the opposite sign."""
    return _in_tolerances(ranks, usual) > _NAMED and _in_tolerances(-ranks[::-1], usual) <= 1


def _in_tolerances(numbers: Numbers, usual: ReferenceRange) -> float:
    """Return how far the farthest of the numbers lies from its mean, in tolerances."""
    return float((np.abs(numbers - np.array(usual.mean)) / np.array(usual.tolerance)).max())


def raised(values: Array, low: float, high: float, power: float) -> Array:
    """Intensities, brought from `low`..`high` to 0..1, to a power."""
    return ((values - low) / (high - low)) ** np.float32(power)


def _nearest_power(ranks: Numbers, usual: ReferenceRange) -> float:
    """Of intensities in [0, 1] at even ranks: that with which they differ least from the usual, both at zero
    mean and unit deviation, in tolerances."""
    tried = ranks ** _POWERS[:, None]
    off = (_standard(tried) - _standard(np.array(usual.mean))) / np.array(usual.tolerance)
    return float(_POWERS[np.square(off).sum(1).argmin()])


def _standard(ranks: Numbers) -> Numbers:
    """Along the last axis."""
    return (ranks - ranks.mean(-1, keepdims=True)) / np.maximum(ranks.std(-1, keepdims=True), 1e-12)


def _detail_beyond(detail: Numbers, usual: ChannelStatistics) -> Numbers:
    """How far each band lies beyond what is usual, in logarithms: from the coarsest on, by what the coarser
    one is once it is mended."""
    off, coarser = np.zeros_like(detail), 0.0
    for band in reversed(range(len(detail))):
        off_mean = detail[band] - usual.detail.mean[band]
        own = np.array(off_mean - usual.follows[band] * coarser)
        off[band] = _beyond(own, np.array(usual.detail.tolerance[band]))
        coarser = off_mean - off[band]
    return off


def _beyond(off: Numbers, tolerance: Numbers) -> Numbers:
    """How far numbers, as differences from the mean, lie outside of the tolerance, with their sign."""
    return np.sign(off) * np.maximum(np.abs(off) - tolerance, 0)


def _rescaled(values: Array, channel: ChannelPlan, usual: ReferenceRange) -> Array:
    """With the brightness and contrast that noise or blur changed: the image's own standard ones, of a
    picture in colour those of training, of CT as they are, for its numbers mean something."""
    if channel.scheme in OWN_SCALE:
        return normalize(values[None], (channel,))[0]
    if channel.scheme in ("foreground", "none"):
        return values
    contrast, brightness = nearest_line(intensities_of(values), usual)
    return contrast * values + brightness


def nearest_line(ranks: Numbers, usual: ReferenceRange) -> tuple[np.float32, np.float32]:
    """Contrast and brightness that bring ranks nearest to the usual ones, in tolerances."""
    weights = 1 / np.array(usual.tolerance)
    terms = np.stack([ranks, np.ones_like(ranks)], axis=1) * weights[:, None]
    contrast, brightness = np.linalg.lstsq(terms, np.array(usual.mean) * weights, rcond=None)[0]
    return np.float32(contrast), np.float32(brightness)


def filtered(values: Array, plan: Plan, gains: NDArray[np.float64]) -> Array:
    """With each band times its gain, slab by slab, for memory."""
    widths = band_widths(plan)
    margin = reach(plan)
    result = np.empty_like(values)
    for start in range(0, len(values), _SLAB):
        first = max(0, start - margin)
        parts = bands(values[first : start + _SLAB + margin], widths)
        total = sum(part * np.float32(gain) for part, gain in zip(parts, (*gains, 1.0), strict=True))
        result[start : start + _SLAB] = np.asarray(total)[start - first :][:_SLAB]
    return result


def reach(plan: Plan) -> int:
    """How many voxels around it a filtered voxel depends on."""
    return ceil(BLUR_REACH * max(max(width) for width in band_widths(plan))) + 1
