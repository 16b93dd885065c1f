"""Measure the intensity statistics of preprocessed images: of the training images, and of each new image.

`planning.intensity_statistics` defines the result, which the plan stores. An image is split into frequency
bands by Gaussian blurs G of growing width, v - G1 v, G1 v - G2 v, ...: noise fills the first, blur empties
them. A large image is measured in a few blocks, none of which is nearly empty: on an empty background the
faintest noise is all that there is. M channels; *S' the network's grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import ceil, prod, sqrt

import numpy as np
from numpy.typing import NDArray

from ldseg.data.splits import evenly_spaced
from ldseg.planning.intensity_statistics import BAND_WIDTHS, QUANTILES, ChannelStatistics, ReferenceRange
from ldseg.planning.plan import Plan

ENOUGH_IMAGES = 10
"""Fewest training images from which tolerances are measured."""
BLUR_REACH = 3.0
"""Radius at which the blurs are truncated, in their deviations."""
_MARGIN, _LEAST_TOLERANCE = 1.25, 0.06
"""A tolerance is 1.25 times the largest deviation among the training images, and at least 0.06."""
_END_RANK = 0.001
_SIDES = {"yx": (128, 128), "zyx": (32, 32, 32), "tyx": (2, 128, 128)}
"""Sides of a block in voxels; an image is cut along each axis that is longer than two blocks."""
_BLOCKS = {"yx": 4, "zyx": 8, "tyx": 8}
"""Largest number of blocks that are measured of an image."""
_CONTENT = 0.3
"""Least deviation of a block that is measured, as a share of that of the block with the most content."""
_SAMPLE = 2**15
"""Approximate number of voxels whose intensities are measured."""

Array = NDArray[np.float32]
Numbers = NDArray[np.float64]
Blur = Callable[[Array, Sequence[float]], Array]
"""Blurs an image (*S') by a Gaussian with a deviation in voxels for each axis."""


def measure_intensity_statistics(images: Iterable[Array], plan: Plan) -> tuple[ChannelStatistics, ...]:
    """Return the statistics of each channel over preprocessed training images (M, *S').

    Empty with fewer than `ENOUGH_IMAGES` images.
    """
    measured = [[(band_energy(one, plan), intensity_quantiles(one)) for one in image] for image in images]
    if len(measured) < ENOUGH_IMAGES:
        return ()
    found: list[ChannelStatistics] = []
    for channel in zip(*measured, strict=True):
        energy, quantiles = (np.stack(numbers) for numbers in zip(*channel, strict=True))
        off = energy - energy.mean(0)
        coarser = np.roll(off, -1, axis=1)
        slope = (off * coarser).sum(0) / np.maximum(np.square(coarser).sum(0), 1e-12)
        slope[-1] = 0.0  # the coarsest band has no coarser one
        energy_range = ReferenceRange(_tuple(energy.mean(0)), _tolerance(off - slope * coarser))
        intensities = ReferenceRange(_tuple(quantiles.mean(0)), _tolerance(quantiles))
        found.append(ChannelStatistics(energy_range, _tuple(slope), intensities))
    return tuple(found)


def _tolerance(numbers: Numbers) -> tuple[float, ...]:
    """Return 1.25 times the largest deviation from the mean among the training images; (images, n)."""
    farthest = np.abs(numbers - numbers.mean(0)).max(0)
    return _tuple(np.maximum(_MARGIN * farthest, _LEAST_TOLERANCE))


def _tuple(values: Numbers) -> tuple[float, ...]:
    return tuple(values.round(4).tolist())


def band_energy(channel: Array, plan: Plan) -> Numbers:
    """Return the log energy of each frequency band of a channel (*S'), as in `ChannelStatistics`."""
    regions = block_regions(channel.shape, plan)
    contents = [spread(channel[region]) for region in regions]
    chosen = informative_blocks(contents, regions, plan)
    return band_energy_of_blocks((channel[region] for region in chosen), plan)


def band_energy_of_blocks(blocks: Iterable[Array], plan: Plan) -> Numbers:
    """Return the log energy of each frequency band over all `blocks` of a channel."""
    widths = band_widths(plan)
    squares = np.zeros(len(widths) + 1)
    for block in blocks:
        parts = bands(block, widths, blur_block)
        squares += [part.size * spread(part) ** 2 for part in parts]
    logarithms = 0.5 * np.log(squares + 1e-12)
    return logarithms[:-1] - logarithms[-1]


def spread(values: Array) -> float:
    """Return the standard deviation, in a third of the time that NumPy's own takes."""
    off = values - values.mean()
    return sqrt(float(np.vdot(off, off)) / values.size)


def intensity_quantiles(channel: Array) -> Numbers:
    """Return the quantiles of a channel (*S'), see `ChannelStatistics.intensities`."""
    return quantiles_of_sample(channel[sample_grid(channel.shape)])


def quantiles_of_sample(values: Array) -> Numbers:
    """Return the quantiles of a channel from a sample of its voxels."""
    ranks = np.linspace(_END_RANK, 1 - _END_RANK, QUANTILES) * (values.size - 1)
    # As np.quantile, which selects each of so many ranks in ten times what sorting takes.
    return np.interp(ranks, np.arange(values.size), np.sort(values, axis=None))


def sample_grid(shape: Sequence[int]) -> tuple[slice, ...]:
    """Return the regular grid of voxels of (*S') whose intensities are measured."""
    step = max(1, round((prod(shape) / _SAMPLE) ** (1 / len(shape))))
    return tuple(slice(step // 2 if n > step else 0, n, step) for n in shape)


def band_widths(plan: Plan) -> tuple[tuple[float, ...], ...]:
    """Return the deviation of each blur in voxels per axis: equal in mm in space, 0 along time."""
    finest = min(step for step, axis in zip(plan.spacing, plan.axes, strict=True) if axis != "t")
    shares = [
        0.0 if axis == "t" else finest / step if plan.resample else 1.0
        for step, axis in zip(plan.spacing, plan.axes, strict=True)
    ]
    return tuple(tuple(width * share for share in shares) for width in BAND_WIDTHS)


def bands(values: Array, widths: Sequence[Sequence[float]], blur: Blur) -> Iterator[Array]:
    """Yield the frequency bands of (*S'), finest first, and last the remainder; their sum is `values`."""
    finer = values
    for width in widths:
        blurred = blur(values, width)
        yield finer - blurred
        finer = blurred
    yield finer


def blur_image(values: Array, width: Sequence[float]) -> Array:
    """Return an image of any size blurred, see `Blur`."""
    from scipy import ndimage  # slow to import, and a prediction that changes no image does not need it

    blurred = np.empty_like(values)
    ndimage.gaussian_filter(values, width, mode="nearest", truncate=BLUR_REACH, output=blurred)
    return blurred


def blur_block(values: Array, width: Sequence[float]) -> Array:
    """Return the same as `blur_image` but for rounding, 1e-6 of the largest value, by a matrix along each
    axis: on sides as short as those of a block that takes half the time in 2D, a seventh in 3D."""
    shape = values.shape
    for axis, deviation in enumerate(width):
        if deviation > 0:
            matrix = _blur_matrix(shape[axis], deviation)
            if axis == len(shape) - 1:
                values = values @ matrix.T
            else:
                values = (matrix @ values.reshape(-1, shape[axis], prod(shape[axis + 1 :]))).reshape(shape)
    return values


@lru_cache(maxsize=32)
def _blur_matrix(side: int, deviation: float) -> Array:
    """Return the matrix (side, side) that blurs an axis of `side` voxels, which goes on beyond its ends with
    the value there, as in `blur_image`."""
    reach = int(BLUR_REACH * deviation + 0.5)
    offsets = np.arange(-reach, reach + 1)
    taps = np.exp(-0.5 * (offsets / deviation) ** 2)
    rows = np.arange(side)
    matrix = np.zeros((side, side))
    for offset, tap in zip(offsets, taps / taps.sum(), strict=True):
        matrix[rows, np.clip(rows + offset, 0, side - 1)] += tap
    return matrix.astype(np.float32)


def block_regions(shape: Sequence[int], plan: Plan) -> list[tuple[slice, ...]]:
    """Return blocks that cover (*S'); a small image is one block."""
    return list(product(*(_intervals(n, side) for n, side in zip(shape, _SIDES[plan.axes], strict=True))))


def _intervals(size: int, side: int) -> list[slice]:
    """Return intervals of length `side` that cover an axis evenly; a short axis is one."""
    if size <= 2 * side:
        return [slice(0, size)]
    starts = np.linspace(0, size - side, ceil(size / side)).round().astype(int).tolist()
    return [slice(start, start + side) for start in starts]


def informative_blocks(
    contents: Sequence[float], regions: Sequence[tuple[slice, ...]], plan: Plan
) -> tuple[tuple[slice, ...], ...]:
    """Return an even choice of the blocks with content, judged by the deviation in each (`contents`)."""
    least = _CONTENT * max(contents)
    return evenly_spaced(
        [r for r, content in zip(regions, contents, strict=True) if content >= least], _BLOCKS[plan.axes]
    )
