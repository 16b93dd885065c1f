"""What prepared images look like: measured over the training images, and of each image that is segmented.

Detail is split into bands by Gaussian blurs G of growing width, v - G1 v, G1 v - G2 v, ...: noise fills the
first, blur empties them. A large image is looked at in a few blocks, none of which is nearly empty: where
there is nothing to see, the faintest noise is all that there is.
M channels; *S' the network's grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ldseg.data.splits import evenly
from ldseg.planning.intensity_statistics import BAND_WIDTHS, RANKS, ChannelStatistics, ReferenceRange
from ldseg.planning.plan import Plan

ENOUGH_IMAGES = 10
"""With fewer training images nobody knows what is unusual."""
BLUR_REACH = 3.0
"""Where the blurs end, in deviations."""
_BEYOND, _LEAST_TOLERANCE = 1.25, 0.06
"""Times the farthest training image, and in the units of what is measured."""
_END_RANK = 0.001
_SIDES = {"yx": (128, 128), "zyx": (32, 32, 32), "tyx": (2, 128, 128)}
"""Of a block; an image is cut along each axis that is longer than two."""
_BLOCKS = {"yx": 4, "zyx": 8, "tyx": 8}
"""Of an image, at most."""
_CONTENT = 0.3
"""Of the deviation in the richest block, that of the least rich that is looked at."""
_SAMPLE = 2**15
"""Voxels whose intensities are looked at, about."""

Array = NDArray[np.float32]
Numbers = NDArray[np.float64]


def measure_intensity_statistics(images: Iterable[Array], plan: Plan) -> tuple[ChannelStatistics, ...]:
    """Of prepared training images (M, *S'), for each channel; nothing where they are fewer than
    `ENOUGH_IMAGES`."""
    looks = [[(detail_of(channel, plan), intensities_of(channel)) for channel in image] for image in images]
    if len(looks) < ENOUGH_IMAGES:
        return ()
    found: list[ChannelStatistics] = []
    for channel in zip(*looks, strict=True):
        detail, intensities = (np.stack(numbers) for numbers in zip(*channel, strict=True))
        off = detail - detail.mean(0)
        coarser = np.roll(off, -1, axis=1)
        follows = _slopes(off, coarser)
        usual = ReferenceRange(_tuple(detail.mean(0)), _tolerance(off - follows * coarser))
        ranks = ReferenceRange(_tuple(intensities.mean(0)), _tolerance(intensities))
        found.append(ChannelStatistics(usual, _tuple(follows), ranks))
    return tuple(found)


def _slopes(off: Numbers, coarser: Numbers) -> Numbers:
    """Of the regression of each band on the next coarser, of (images, bands) without their mean."""
    slopes = (off * coarser).sum(0) / np.maximum(np.square(coarser).sum(0), 1e-12)
    slopes[-1] = 0.0
    return slopes


def _tolerance(numbers: Numbers) -> tuple[float, ...]:
    """Of (images, n): a little beyond the farthest, for the next may lie beyond all that were seen."""
    farthest = np.abs(numbers - numbers.mean(0)).max(0)
    return _tuple(np.maximum(_BEYOND * farthest, _LEAST_TOLERANCE))


def _tuple(values: Numbers) -> tuple[float, ...]:
    return tuple(values.round(4).tolist())


def detail_of(channel: Array, plan: Plan) -> Numbers:
    """See `ChannelStatistics.detail`; of a channel (*S')."""
    regions = block_regions(channel.shape, plan)
    contents = [float(channel[region].std()) for region in regions]
    return detail_of_blocks((channel[region] for region in rich(contents, regions, plan)), plan)


def detail_of_blocks(blocks: Iterable[Array], plan: Plan) -> Numbers:
    """As `detail_of` an image of which these are looked at."""
    widths = band_widths(plan)
    squares = np.zeros(len(widths) + 1)
    for block in blocks:
        squares += [float(np.square(part - part.mean()).sum()) for part in bands(block, widths)]
    logarithms = 0.5 * np.log(squares + 1e-12)
    return logarithms[:-1] - logarithms[-1]


def intensities_of(channel: Array) -> Numbers:
    """See `ChannelStatistics.intensities`; of a channel (*S')."""
    return intensities_of_sample(channel[sample_grid(channel.shape)])


def intensities_of_sample(values: Array) -> Numbers:
    """As `intensities_of` an image of which these are looked at."""
    return np.quantile(values, np.linspace(_END_RANK, 1 - _END_RANK, RANKS)).astype(np.float64)


def sample_grid(shape: Sequence[int]) -> tuple[slice, ...]:
    """Which voxels of (*S') are looked at for their intensities."""
    step = max(1, round((prod(shape) / _SAMPLE) ** (1 / len(shape))))
    return tuple(slice(step // 2 if n > step else 0, n, step) for n in shape)


def band_widths(plan: Plan) -> tuple[tuple[float, ...], ...]:
    """Of each blur, in voxels along each axis: equal in mm along all spatial axes, none along time."""
    finest = min(step for step, axis in zip(plan.spacing, plan.axes, strict=True) if axis != "t")
    shares = [
        0.0 if axis == "t" else finest / step if plan.resample else 1.0
        for step, axis in zip(plan.spacing, plan.axes, strict=True)
    ]
    return tuple(tuple(width * share for share in shares) for width in BAND_WIDTHS)


def bands(values: Array, widths: Sequence[Sequence[float]]) -> Iterator[Array]:
    """The bands of (*S'), finest first, and last what is left; their sum is `values`."""
    finer = values
    for width in widths:
        blurred = np.empty_like(values)
        ndimage.gaussian_filter(values, width, mode="nearest", truncate=BLUR_REACH, output=blurred)
        yield finer - blurred
        finer = blurred
    yield finer


def block_regions(shape: Sequence[int], plan: Plan) -> list[tuple[slice, ...]]:
    """Blocks that cover (*S'); a small image is one."""
    return list(product(*(_pieces(n, side) for n, side in zip(shape, _SIDES[plan.axes], strict=True))))


def rich(
    contents: Sequence[float], regions: Sequence[tuple[slice, ...]], plan: Plan
) -> tuple[tuple[slice, ...], ...]:
    """The blocks to look at, by the deviation in each: some of those with content."""
    least = _CONTENT * max(contents)
    return evenly(
        [r for r, content in zip(regions, contents, strict=True) if content >= least], _BLOCKS[plan.axes]
    )


def _pieces(size: int, side: int) -> list[slice]:
    if size <= 2 * side:
        return [slice(0, size)]
    starts = np.linspace(0, size - side, ceil(size / side)).round().astype(int).tolist()
    return [slice(start, start + side) for start in starts]
