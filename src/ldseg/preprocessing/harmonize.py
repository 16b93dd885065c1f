"""Harmonize an image that differs from all training images before it is segmented.

A network works best on images like those of its training. An image with far more energy in the fine
frequency bands is noisy, one with far less is blurred, and one with other intensities has another contrast.
Frequency bands are scaled to the edge of their tolerance, then a gamma is applied. An image within the
tolerances stays as it is, to the last bit. Whether the harmonized image or the original is segmented is
decided by the predictions for both (`inference.view_agreement`).

Statistics of the whole image are measured, a correction is decided, and then each block is transformed: an
image in memory at once, a lazily read one (2D only) as its patches are read. M channels; *S' the network's
grid.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

import numpy as np

from ldseg.planning.plan import ChannelPlan, Plan
from ldseg.preprocessing.deviations import (
    Deviations,
    fit_gamma,
    fit_line,
    report_contrast,
    wiener_gains,
)
from ldseg.preprocessing.intensity_statistics import (
    BLUR_REACH,
    Array,
    Numbers,
    band_energy_of_blocks,
    band_widths,
    bands,
    block_regions,
    blur_image,
    informative_blocks,
    quantiles_of_sample,
    sample_grid,
    spread,
)
from ldseg.preprocessing.lazy_image import Change, read_region, tiles_of, transform
from ldseg.preprocessing.normalize import OWN_SCALE, find_scale, slabs
from ldseg.preprocessing.preprocess import PatchSource

BEYOND, CLEARLY = 1.25, 1.5
"""Distances in tolerances beyond which an image is changed, and beyond which it is reported even if the
change is not taken. Of 640 training images of four sets, each compared with the others of its set, 14 and 3
were farther out."""
_SLAB = 64
"""Planes that are filtered at once."""


@dataclass(frozen=True)
class HarmonizedImage:
    """An image after harmonization."""

    image: PatchSource
    """The original itself where nothing was changed."""
    deviations: tuple[str, ...]
    """Ways in which the original differs from the training images, of `DEVIATIONS`."""
    certain_deviations: tuple[str, ...] = ()
    """The deviations to report even if the original is segmented."""


@dataclass(frozen=True)
class GlobalStatistics:
    """Intensity statistics of a whole image, by channel."""

    quantiles: list[Numbers]
    low: list[float]
    high: list[float]


def harmonize(image: PatchSource, plan: Plan) -> HarmonizedImage:
    """Return the image corrected towards the statistics of the training images in `plan.appearance`.

    Without these statistics nothing is changed. A constant channel stays as it is.
    """
    if not plan.appearance:
        return HarmonizedImage(image, ())
    found = Deviations()
    _report_colors(image, plan, found)
    varying, gains = _fit_gains(image, plan, found)
    filters: dict[int, Change] = {n: partial(filter_bands, plan=plan, gains=one) for n, one in gains.items()}
    changed = transform(image, filters, filter_reach(plan))
    if gains:
        changed = _restore_contrast(changed, plan, varying, gains)
    changed = _correct_gamma(changed, plan, varying, found)
    kept = changed if found.distance > BEYOND else image
    return HarmonizedImage(kept, found.names(BEYOND), found.names(CLEARLY))


def _report_colors(image: PatchSource, plan: Plan, found: Deviations) -> None:
    """Report deviating intensities of color channels, which keep their contrast."""
    colors = [n for n, channel in enumerate(plan.channels) if channel.scheme == "range"]
    if colors:
        measured = global_statistics(image)
        for n in colors:
            if measured.low[n] < measured.high[n]:
                report_contrast(measured.quantiles[n], plan.appearance[n].intensities, found)


def _fit_gains(image: PatchSource, plan: Plan, found: Deviations) -> tuple[Sequence[int], dict[int, Numbers]]:
    """Return the channels that are not constant, and the gains of the bands of those that deviate."""
    regions = block_regions(image.grid.shape, plan)
    blocks = (read_region(image, region) for region in regions)
    seen = np.array([[(spread(one), one.min(), one.max()) for one in block] for block in blocks])
    varying: list[int] = []
    gains: dict[int, Numbers] = {}
    for n, reference in enumerate(plan.appearance):
        content, low, high = seen[:, n].T
        if low.min() < high.max():
            varying.append(n)
            chosen = informative_blocks(content.tolist(), regions, plan)
            energy = band_energy_of_blocks((read_region(image, region)[n] for region in chosen), plan)
            fitted = wiener_gains(energy, reference, found)
            if fitted is not None:
                gains[n] = fitted
    return varying, gains


def _restore_contrast(
    image: PatchSource, plan: Plan, varying: Sequence[int], filtered: Container[int]
) -> PatchSource:
    """Restore the brightness and contrast that noise or blur changed.

    Filtered channels with a scale of their own are standardized again. Color channels are all fitted to the
    training quantiles, since changing one alone would change the hue. CT keeps its numbers.
    """
    changes: dict[int, Change] = {}
    colors = [n for n in varying if plan.channels[n].scheme == "range"]
    if colors:
        measured = global_statistics(image)
        for n in colors:
            contrast, brightness = fit_line(measured.quantiles[n], plan.appearance[n].intensities)
            changes[n] = lambda values, a=contrast, b=brightness: a * values + b
    for n in varying:
        if n in filtered and plan.channels[n].scheme in OWN_SCALE:
            changes[n] = _standardization(image, n, plan.channels[n])
    return transform(image, changes)


def _correct_gamma(image: PatchSource, plan: Plan, varying: Sequence[int], found: Deviations) -> PatchSource:
    """Apply the fitted gamma to channels whose numbers have no meaning of their own, as those of CT and color
    have."""
    relative = [n for n in varying if plan.channels[n].scheme in OWN_SCALE]
    if not relative:
        return image
    measured = global_statistics(image)
    changes: dict[int, Change] = {}
    for n in relative:
        low, high = measured.low[n], measured.high[n]
        gamma = fit_gamma(measured.quantiles[n], low, high, plan.appearance[n].intensities, found)
        if gamma is not None:
            changes[n] = partial(apply_gamma, low=low, high=high, gamma=gamma)
    changed = transform(image, changes)
    return transform(changed, {n: _standardization(changed, n, plan.channels[n]) for n in changes})


def global_statistics(image: PatchSource) -> GlobalStatistics:
    """Measure the range and the quantiles of each channel over the whole image."""
    grid, samples = sample_grid(image.grid.shape), list[Array]()
    lows, highs = list[Array](), list[Array]()
    for tile in tiles_of(image):
        values = read_region(image, tile)
        flat = tuple(range(1, values.ndim))
        lows.append(values.min(flat))
        highs.append(values.max(flat))
        inside = tuple(_within(every, part) for every, part in zip(grid, tile, strict=True))
        samples.append(values[(slice(None), *inside)].reshape(len(values), -1))
    quantiles = [quantiles_of_sample(one) for one in np.concatenate(samples, axis=1)]
    return GlobalStatistics(quantiles, np.min(lows, axis=0).tolist(), np.max(highs, axis=0).tolist())


def _within(every: slice, part: slice) -> slice:
    """Return where the voxels that `every` takes of an axis lie within a part of it."""
    first = every.start + max(0, -((every.start - part.start) // every.step)) * every.step
    return slice(first - part.start, part.stop - part.start, every.step)


def _standardization(image: PatchSource, n: int, channel: ChannelPlan) -> Change:
    """Return the normalization of one channel by its mean and deviation over the whole image."""
    scale = find_scale(
        channel, (slab for tile in tiles_of(image) for slab in slabs(read_region(image, tile)[n]))
    )

    def standardize(values: Array) -> Array:
        out = np.empty_like(values)
        scale.apply(values, out)
        return out

    return standardize


def apply_gamma(values: Array, low: float, high: float, gamma: float) -> Array:
    """Return intensities, brought from `low`..`high` to 0..1, to the power `gamma`."""
    return ((values - low) / (high - low)) ** np.float32(gamma)


def filter_bands(values: Array, plan: Plan, gains: Numbers) -> Array:
    """Return a channel with each frequency band times its gain, computed slab by slab to save memory."""
    widths = band_widths(plan)
    margin = filter_reach(plan)
    result = np.empty_like(values)
    for start in range(0, len(values), _SLAB):
        first = max(0, start - margin)
        parts = bands(values[first : start + _SLAB + margin], widths, blur_image)
        total = sum(part * np.float32(gain) for part, gain in zip(parts, (*gains, 1.0), strict=True))
        result[start : start + _SLAB] = np.asarray(total)[start - first :][:_SLAB]
    return result


def filter_reach(plan: Plan) -> int:
    """Return the distance in voxels over which `filter_bands` looks around each voxel."""
    return ceil(BLUR_REACH * max(max(width) for width in band_widths(plan))) + 1
