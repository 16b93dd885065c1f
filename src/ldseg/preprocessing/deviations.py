"""Compare the intensity statistics of an image with those of the training images, and fit what corrects them.

Everything here is arithmetic on a few numbers of one channel: the energy of its frequency bands and the
quantiles of its intensities. Distances are in tolerances of a `ReferenceRange`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ldseg.planning.intensity_statistics import ChannelStatistics, ReferenceRange
from ldseg.preprocessing.intensity_statistics import Numbers

NOISY, BLURRED, CONTRAST, INVERTED = "noisier", "more blurred", "of another contrast", "inverted"
DEVIATIONS = (NOISY, BLURRED, CONTRAST, INVERTED)
"""All ways in which an image may differ from the training images."""
_REPORTED_BEYOND = 2.0
"""Distance from which intensities that are never changed, e.g. colors, are reported."""
_LARGEST_GAIN = 8.0
"""Largest amplification of a band that blur has emptied; beyond it rounding and noise would show."""
_GAMMAS = 2.0 ** np.linspace(-2, 2, 41)


@dataclass
class Deviations:
    """Ways in which an image differs from the training images, collected while it is measured."""

    corrected: set[str] = field(default_factory=set[str])
    """Ways for which a correction was fitted."""
    distance: float = 0.0
    """Largest distance of a corrected way from the training mean."""
    uncorrected: set[str] = field(default_factory=set[str])
    """Ways that are reported but never corrected."""

    def add(self, ways: Iterable[str], distance: float) -> None:
        """Add ways that a correction was fitted for."""
        self.corrected.update(ways)
        self.distance = max(self.distance, distance)

    def names(self, beyond: float) -> tuple[str, ...]:
        """Return the ways to report; the corrected ones only if the distance is larger than `beyond`."""
        reported = self.uncorrected | (self.corrected if self.distance > beyond else set[str]())
        return tuple(way for way in DEVIATIONS if way in reported)


def describe_deviations(deviations: Sequence[str]) -> str:
    """Return the deviations as a phrase that completes a sentence about the image."""
    compared = [way for way in deviations if way in (NOISY, BLURRED, CONTRAST)]
    parts = [f"is {', '.join(compared)} than the training images"] if compared else []
    if INVERTED in deviations:
        parts.append("seems to be inverted: dark where the training images are bright")
    return "; ".join([*parts, *(way for way in deviations if way not in DEVIATIONS)])


def wiener_gains(energy: Numbers, reference: ChannelStatistics, found: Deviations) -> Numbers | None:
    """Return a gain for each frequency band, or None if all bands are within their tolerance.

    Excess band energy is treated as noise: the gain is that of Wiener's filter, the expected share of the
    band's power. A band with too little energy is amplified to the edge of its tolerance.
    """
    excess = _excess_energy(energy, reference)
    if not excess.any():
        return None
    ways = [name for name, there in ((NOISY, excess.max() > 0), (BLURRED, excess.min() < 0)) if there]
    found.add(ways, 1 + float((np.abs(excess) / np.array(reference.band_energy.tolerance)).max()))
    return np.where(excess > 0, np.exp(-2 * excess), np.minimum(np.exp(-excess), _LARGEST_GAIN))


def _excess_energy(energy: Numbers, reference: ChannelStatistics) -> Numbers:
    """Return by how much each band's log energy lies beyond its tolerance, with sign; 0 within.

    A band is compared with the value expected from the next coarser band after its own correction.
    """
    excess, coarser = np.zeros_like(energy), 0.0
    for band in reversed(range(len(energy))):
        difference = energy[band] - reference.band_energy.mean[band]
        unexplained = np.array(difference - reference.band_slope[band] * coarser)
        beyond = np.abs(unexplained) - np.array(reference.band_energy.tolerance[band])
        excess[band] = np.sign(unexplained) * np.maximum(beyond, 0)
        coarser = difference - excess[band]
    return excess


def fit_gamma(
    quantiles: Numbers, low: float, high: float, reference: ReferenceRange, found: Deviations
) -> float | None:
    """Return the gamma that brings intensities in `low`..`high` nearest to the training quantiles.

    None if the quantiles are within tolerance, or inverted, which no gamma corrects. Both sides are compared
    at zero mean and unit deviation.
    """
    distance = _distance(quantiles, reference)
    if distance <= 1:
        return None
    if is_inverted(quantiles, reference):
        found.uncorrected.add(INVERTED)
        return None
    found.add((CONTRAST,), distance)
    corrected = ((quantiles - low) / (high - low)) ** _GAMMAS[:, None]
    off = (_standardized(corrected) - _standardized(np.array(reference.mean))) / np.array(reference.tolerance)
    return float(_GAMMAS[np.square(off).sum(1).argmin()])


def report_contrast(quantiles: Numbers, reference: ReferenceRange, found: Deviations) -> None:
    """Add the deviations of intensities that are never changed, because their numbers have a meaning."""
    if is_inverted(quantiles, reference):
        found.uncorrected.add(INVERTED)
    elif _distance(quantiles, reference) > _REPORTED_BEYOND:
        found.uncorrected.add(CONTRAST)


def is_inverted(quantiles: Numbers, reference: ReferenceRange) -> bool:
    """Return whether intensities are clearly out of tolerance, but within it with the opposite sign."""
    negated = -quantiles[::-1]
    return _distance(quantiles, reference) > _REPORTED_BEYOND and _distance(negated, reference) <= 1


def fit_line(quantiles: Numbers, reference: ReferenceRange) -> tuple[np.float32, np.float32]:
    """Return the contrast and brightness that bring quantiles nearest to the training quantiles."""
    weights = 1 / np.array(reference.tolerance)
    terms = np.stack([quantiles, np.ones_like(quantiles)], axis=1) * weights[:, None]
    contrast, brightness = np.linalg.lstsq(terms, np.array(reference.mean) * weights, rcond=None)[0]
    return np.float32(contrast), np.float32(brightness)


def _distance(numbers: Numbers, reference: ReferenceRange) -> float:
    """Return the largest distance of the numbers from the reference mean, in tolerances."""
    return float((np.abs(numbers - np.array(reference.mean)) / np.array(reference.tolerance)).max())


def _standardized(quantiles: Numbers) -> Numbers:
    """Return quantiles at zero mean and unit deviation along the last axis."""
    centered = quantiles - quantiles.mean(-1, keepdims=True)
    return centered / np.maximum(quantiles.std(-1, keepdims=True), 1e-12)
