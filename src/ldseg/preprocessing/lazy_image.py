"""Preprocess an image that does not fit memory patch by patch, as it is read.

The voxels are those of `preprocess_image`, except for rounding in the mean and deviation of the whole image.
2D only: M channels; (Y, X) the file's grid; *S' = (Y', X') the network's. `read_region`, `tiles_of` and
`transform` treat images in memory and lazily read ones alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ldseg.data.ranges import ImageRange, number_type
from ldseg.data.volume import Volume
from ldseg.planning.plan import Plan
from ldseg.preprocessing.normalize import OWN_SCALE, Scale, channels_measured, find_scale
from ldseg.preprocessing.number_scale import (
    Differing,
    count_differing,
    differing,
    judge_content,
    number_scale,
)
from ldseg.preprocessing.preprocess import (
    GridTransform,
    PatchSource,
    PreprocessedImage,
    grid_transform,
    thick_axes,
)
from ldseg.preprocessing.resample import axis_weights

_ROWS = 128
"""Rows that are read at once while the whole image is measured."""
_TILE = 1024
"""Side in voxels of the tiles in which a lazily read image is measured."""

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A transform of one channel (*R)."""


class Source(Protocol):
    """Voxels that stay on the disk."""

    @property
    def outline(self) -> Volume:
        """Return the image's grid and place, with placeholder voxels that take no memory."""
        ...

    def read(self, region: Sequence[slice]) -> NDArray[np.float32]:
        """Return the voxels (M, *R) of a region within the grid."""
        ...


class LazyImage:
    """A `PatchSource` that preprocesses each patch as it is read.

    All numbers are read once beforehand, and again where the plan normalizes by the image's own intensities.
    """

    def __init__(self, source: Source, plan: Plan, name: str) -> None:
        """Measure the whole image.

        Raises InputError for other axes than the plan's, for numbers on no scale that the plan knows, and for
        an image with one value in all its voxels (see `number_scale`).
        """
        self._source, self._grid = source, grid_transform(source.outline, plan, name)
        thick = thick_axes(source.outline, self._grid, plan)
        grids = zip(source.outline.shape, self._grid.shape, strict=True)
        self._weights = [
            None if old == new else axis_weights(old, new, "linear" if axis in thick else "cubic")
            for axis, (old, new) in enumerate(grids)
        ]
        found, content = self._measure(name)
        scale = number_scale(found, plan)
        self._factor = np.float32(scale.factor)
        pixels = int(np.prod(source.outline.shape))
        self.notes = (*scale.notes, *judge_content(content, pixels, plan, name))
        """Assumptions about the number scale, one sentence each."""
        self._scales: list[Scale] = []
        for channel, channel_plan in enumerate(plan.channels):
            bounds = [np.array([channel_plan.low, channel_plan.high], dtype=np.float32)]
            rows, columns = self._grid.shape
            measured = channels_measured(channel_plan, plan.channels) or [channel]
            bands = (
                self._resampled([slice(first, min(first + _ROWS, rows)), slice(0, columns)])[n]
                for first in range(0, rows, _ROWS)
                for n in measured
            )
            self._scales.append(
                find_scale(channel_plan, bands if channel_plan.scheme in OWN_SCALE else bounds)
            )

    @property
    def grid(self) -> GridTransform:
        """Return the network's grid and the way back to the file's."""
        return self._grid

    def read(self, corner: Sequence[int], patch: Sequence[int]) -> NDArray[np.float32]:
        """See `PatchSource`."""
        result = np.zeros((len(self._scales), *patch), dtype=np.float32)
        ends = [min(c + p, n) for c, p, n in zip(corner, patch, self._grid.shape, strict=True)]
        values = self._resampled([slice(c, end) for c, end in zip(corner, ends, strict=True)])
        inside = tuple(slice(0, end - c) for c, end in zip(corner, ends, strict=True))
        for scale, one, target in zip(self._scales, values, result, strict=True):
            scale.apply(one, target[inside])
        return result

    def _measure(self, name: str) -> tuple[ImageRange, list[Differing]]:
        """Return the range of all numbers in the file, and how many of them differ from the commonest."""
        outline = self._source.outline
        rows, columns = outline.shape
        low, high = (np.full(len(outline.array), end, dtype=np.float32) for end in (np.inf, -np.inf))
        commonest: list[float] = []
        counts = np.zeros(len(outline.array), dtype=np.int64)
        for first in range(0, rows, _ROWS):
            values = self._source.read([slice(first, min(first + _ROWS, rows)), slice(0, columns)])
            flat = values.reshape(len(values), -1)
            commonest = commonest or [differing(one).value for one in flat]
            low, high = np.minimum(low, flat.min(1)), np.maximum(high, flat.max(1))
            counts += [count_differing(one, value) for one, value in zip(flat, commonest, strict=True)]
        found = ImageRange(name, number_type(outline), tuple(low.tolist()), tuple(high.tolist()))
        return found, [Differing(*pair) for pair in zip(commonest, counts.tolist(), strict=True)]

    def _resampled(self, region: Sequence[slice]) -> NDArray[np.float32]:
        """Return a region of the network's grid before normalization."""
        own: list[slice] = []
        for weights, along in zip(self._weights, region, strict=True):
            needed = None if weights is None else weights[along].indices
            own.append(along if needed is None else slice(int(needed.min()), int(needed.max()) + 1))
        values = self._source.read(own)
        for axis, (weights, along, from_) in enumerate(zip(self._weights, region, own, strict=True)):
            if weights is not None:
                matrix = weights[along, from_]
                moved = np.moveaxis(values, axis + 1, 0)
                product = matrix @ np.ascontiguousarray(moved).reshape(len(moved), -1)
                values = np.moveaxis(product.reshape(-1, *moved.shape[1:]), 0, axis + 1)
        return np.ascontiguousarray(values * self._factor, dtype=np.float32)


@dataclass(frozen=True)
class TransformedImage:
    """A `PatchSource` whose channels are transformed as patches are read."""

    image: PatchSource
    changes: Mapping[int, Change]
    """The transform of each channel that is changed."""
    margin: int
    """Voxels around a region that its transform depends on."""

    @property
    def grid(self) -> GridTransform:
        """Return the grid of the image."""
        return self.image.grid

    def read(self, corner: Sequence[int], patch: Sequence[int]) -> NDArray[np.float32]:
        """See `PatchSource`."""
        shape = self.grid.shape
        stops = [min(c + p, n) for c, p, n in zip(corner, patch, shape, strict=True)]
        firsts = [max(0, c - self.margin) for c in corner]
        lasts = [min(n, stop + self.margin) for stop, n in zip(stops, shape, strict=True)]
        values = self.image.read(firsts, [last - first for first, last in zip(firsts, lasts, strict=True)])
        inner = tuple(slice(c - f, stop - f) for c, f, stop in zip(corner, firsts, stops, strict=True))
        inside = tuple(slice(0, stop - c) for c, stop in zip(corner, stops, strict=True))
        result = np.zeros((len(values), *patch), dtype=np.float32)
        for n, (one, target) in enumerate(zip(values, result, strict=True)):
            target[inside] = (self.changes[n](one) if n in self.changes else one)[inner]
        return result


def transform(image: PatchSource, changes: Mapping[int, Change], margin: int = 0) -> PatchSource:
    """Return the image with some channels transformed: at once in memory, else as patches are read.

    `margin` is the number of voxels around a region that its transform depends on.
    """
    if not changes:
        return image
    if not isinstance(image, PreprocessedImage):
        return TransformedImage(image, changes, margin)
    channels = [changes[n](one) if n in changes else one for n, one in enumerate(image.array)]
    # a single channel is not copied once more, for memory
    return replace(image, array=channels[0][None] if len(channels) == 1 else np.stack(channels))


def read_region(image: PatchSource, region: Sequence[slice]) -> NDArray[np.float32]:
    """Return the voxels (M, *R) of a region within the image; a view of an image in memory."""
    if isinstance(image, PreprocessedImage):
        return image.array[(slice(None), *region)]
    return image.read([part.start for part in region], [part.stop - part.start for part in region])


def tiles_of(image: PatchSource) -> Iterator[tuple[slice, ...]]:
    """Yield regions that partition the image: one for an image in memory, else tiles."""
    shape = image.grid.shape
    sides = shape if isinstance(image, PreprocessedImage) else (_TILE,) * len(shape)
    for corner in product(*(range(0, n, side) for n, side in zip(shape, sides, strict=True))):
        yield tuple(slice(c, min(c + side, n)) for c, side, n in zip(corner, sides, shape, strict=True))
