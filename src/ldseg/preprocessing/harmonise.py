"""Brings an image that looks unlike all training images nearer to them before it is segmented.

A network is at home among images like those of its training. One with far more fine detail than these is
noisy, one with far less is blurred, and one with other intensities is of another contrast. Bands of detail
are scaled to the edge of what is usual, then intensities are raised to a power. An image within what is usual
stays as it is, to the last bit. M channels; *S' the network's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ldseg.data.volumes import Volume
from ldseg.planning.appearance import ChannelAppearance, Usual
from ldseg.planning.plan import ChannelPlan, Plan
from ldseg.preprocessing.appearance import (
    BLUR_REACH,
    Array,
    Numbers,
    band_widths,
    bands,
    detail_of,
    intensities_of,
)
from ldseg.preprocessing.normalise import OWN_SCALE, normalise
from ldseg.preprocessing.prepare import Prepared, prepare_image

NOISY, BLURRED, CONTRAST = "noisier", "more blurred", "of another contrast"
UNLIKE = (NOISY, BLURRED, CONTRAST)
"""What an image may be, compared with those of training."""
_GREATEST_GAIN = 8.0
"""Of a band that blur has emptied: beyond it rounding and noise would be seen."""
_POWERS = 2.0 ** np.linspace(-2, 2, 41)
_SLAB = 64
"""Planes that are filtered at once."""


@dataclass(frozen=True)
class Harmonised:
    """An image as it is segmented."""

    prepared: Prepared
    """The same as before where nothing was found."""
    unlike: tuple[str, ...]
    """In which ways it was unlike the training images, of `UNLIKE`."""


def in_words(unlike: Sequence[str]) -> str:
    """What was found and done, for a sentence about the image."""
    return f"is {', '.join(unlike)} than the training images; it was brought nearer to them"


def prepare_to_segment(volume: Volume, plan: Plan, name: str = "image") -> Harmonised:
    """Bring an image to the network's grid and intensities, and nearer to the training images if it is unlike
    them. Raises InputError as `prepare_image`."""
    return harmonise(prepare_image(volume, plan, name), plan)


def harmonise(prepared: Prepared, plan: Plan) -> Harmonised:
    """Of an image prepared by `plan`, whose `appearance` says what is usual; where that is empty, all is.

    A channel that is constant has no look and stays as it is.
    """
    found: set[str] = set()
    before = list(prepared.array)
    looks = [(n, plan.channels[n], usual) for n, usual in enumerate(plan.appearance) if np.ptp(before[n]) > 0]
    channels = list(before)
    for n, _, usual in looks:
        channels[n] = _in_detail(before[n], plan, usual, found)
    for n, channel, usual in looks:
        # colours all together: one channel alone would change the hue
        if channels[n] is not before[n] or (found and channel.scheme == "range"):
            channels[n] = _rescaled(channels[n], channel, usual.intensities)
    for n, channel, usual in looks:
        if channel.scheme in OWN_SCALE:
            channels[n] = _in_intensities(channels[n], channel, usual.intensities, found)
    if not found:
        return Harmonised(prepared, ())
    return Harmonised(replace(prepared, array=np.stack(channels)), tuple(n for n in UNLIKE if n in found))


def _in_detail(values: Array, plan: Plan, usual: ChannelAppearance, found: set[str]) -> Array:
    """With each band of detail scaled to what is usual."""
    gains = gains_of(detail_of(values, plan), usual, found)
    return values if gains is None else filtered(values, plan, gains)


def gains_of(detail: Numbers, usual: ChannelAppearance, found: set[str]) -> Numbers | None:
    """Of each band; None where all is usual. What is too much is noise mostly: it is scaled as Wiener's
    filter does, by the share of the band's power that is usual."""
    off = _detail_beyond(detail, usual)
    if not off.any():
        return None
    found.update(name for name, there in ((NOISY, off.max() > 0), (BLURRED, off.min() < 0)) if there)
    return np.where(off > 0, np.exp(-2 * off), np.minimum(np.exp(-off), _GREATEST_GAIN))


def _in_intensities(values: Array, channel: ChannelPlan, usual: Usual, found: set[str]) -> Array:
    """Raised to the power that brings them nearest to the usual ones. Not where numbers mean something, as in
    CT or in the hue of a stain: it would change what they say."""
    low, high = float(values.min()), float(values.max())
    power = power_of(intensities_of(values), low, high, usual, found)
    if power is None:
        return values
    return normalise(raised(values, low, high, power)[None], (channel,))[0]


def power_of(ranks: Numbers, low: float, high: float, usual: Usual, found: set[str]) -> float | None:
    """To which intensities between `low` and `high` are raised; None where their ranks are usual."""
    if not _beyond(ranks - np.array(usual.mean), np.array(usual.tolerance)).any():
        return None
    found.add(CONTRAST)
    return _nearest_power((ranks - low) / (high - low), usual)


def raised(values: Array, low: float, high: float, power: float) -> Array:
    """Intensities, brought from `low`..`high` to 0..1, to a power."""
    return ((values - low) / (high - low)) ** np.float32(power)


def _nearest_power(ranks: Numbers, usual: Usual) -> float:
    """Of intensities in [0, 1] at even ranks: that with which they differ least from the usual, both at zero
    mean and unit deviation, in tolerances."""
    tried = ranks ** _POWERS[:, None]
    off = (_standard(tried) - _standard(np.array(usual.mean))) / np.array(usual.tolerance)
    return float(_POWERS[np.square(off).sum(1).argmin()])


def _standard(ranks: Numbers) -> Numbers:
    """Along the last axis."""
    return (ranks - ranks.mean(-1, keepdims=True)) / np.maximum(ranks.std(-1, keepdims=True), 1e-12)


def _detail_beyond(detail: Numbers, usual: ChannelAppearance) -> Numbers:
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


def _rescaled(values: Array, channel: ChannelPlan, usual: Usual) -> Array:
    """With the brightness and contrast that noise or blur changed: the image's own standard ones, of a
    picture in colour those of training, of CT as they are, for its numbers mean something."""
    if channel.scheme in OWN_SCALE:
        return normalise(values[None], (channel,))[0]
    if channel.scheme in ("foreground", "none"):
        return values
    contrast, brightness = nearest_line(intensities_of(values), usual)
    return contrast * values + brightness


def nearest_line(ranks: Numbers, usual: Usual) -> tuple[np.float32, np.float32]:
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
