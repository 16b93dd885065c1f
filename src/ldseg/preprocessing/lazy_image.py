"""An image that is prepared region by region, for images too large to be held: the same voxels as
`preprocess_image` gives, but for rounding in the mean and deviation of the whole.

2D only: M channels; (Y, X) the file's grid; *S' = (Y', X') the network's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ldseg.data.ranges import ImageRange, number_type
from ldseg.data.volume import Volume
from ldseg.planning.plan import Plan
from ldseg.preprocessing.normalize import OWN_SCALE, Scale, find_scale
from ldseg.preprocessing.number_scale import (
    Differing,
    count_differing,
    differing,
    judge_content,
    number_scale,
)
from ldseg.preprocessing.preprocess import GridTransform, grid_transform, thick_axes
from ldseg.preprocessing.resample import axis_weights

_ROWS = 128  # that the look at all intensities reads at once


class Source(Protocol):
    """Voxels that stay on the disk."""

    @property
    def outline(self) -> Volume:
        """The image's grid and place, with voxels that mean nothing and take no memory."""
        ...

    def read(self, region: Sequence[slice]) -> NDArray[np.float32]:
        """The voxels (M, *R) of a region within the grid."""
        ...


class LazyImage:
    """See `prepare.PatchSource`. Looks at all numbers once, and at all intensities again where the plan
    normalises by the image's own."""

    def __init__(self, source: Source, plan: Plan, name: str) -> None:
        """Raises InputError for other axes than the plan's, for numbers on no scale that the plan knows, and
        for an image with one value in all its voxels (see `number_scale`)."""
        self._source, self._grid = source, grid_transform(source.outline, plan, name)
        thick = thick_axes(source.outline, self._grid, plan)
        grids = zip(source.outline.shape, self._grid.shape, strict=True)
        self._weights = [
            None if old == new else axis_weights(old, new, "linear" if axis in thick else "cubic")
            for axis, (old, new) in enumerate(grids)
        ]
        found, content = self._look(name)
        scale = number_scale(found, plan)
        self._factor = np.float32(scale.factor)
        pixels = int(np.prod(source.outline.shape))
        self.notes = (*scale.notes, *judge_content(content, pixels, plan, name))
        """What was assumed about its numbers, one sentence each."""
        self._scales: list[Scale] = []
        for channel, channel_plan in enumerate(plan.channels):
            bounds = [np.array([channel_plan.low, channel_plan.high], dtype=np.float32)]
            slabs = self._channel(channel) if channel_plan.scheme in OWN_SCALE else bounds
            self._scales.append(find_scale(channel_plan, slabs))

    @property
    def grid(self) -> GridTransform:
        """The network's grid, and the way back."""
        return self._grid

    def read(self, corner: Sequence[int], patch: Sequence[int]) -> NDArray[np.float32]:
        """See `prepare.PatchSource`."""
        result = np.zeros((len(self._scales), *patch), dtype=np.float32)
        ends = [min(c + p, n) for c, p, n in zip(corner, patch, self._grid.shape, strict=True)]
        values = self._resampled([slice(c, end) for c, end in zip(corner, ends, strict=True)])
        inside = tuple(slice(0, end - c) for c, end in zip(corner, ends, strict=True))
        for scale, one, target in zip(self._scales, values, result, strict=True):
            scale.apply(one, target[inside])
        return result

    def _look(self, name: str) -> tuple[ImageRange, list[Differing]]:
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

    def _channel(self, channel: int) -> Iterator[NDArray[np.float32]]:
        """One channel in bands of rows."""
        rows, columns = self._grid.shape
        for first in range(0, rows, _ROWS):
            yield self._resampled([slice(first, min(first + _ROWS, rows)), slice(0, columns)])[channel]

    def _resampled(self, region: Sequence[slice]) -> NDArray[np.float32]:
        """A region of the network's grid, before normalisation."""
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
