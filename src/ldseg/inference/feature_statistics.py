"""Summary statistics of the image encoder's features over a whole image.

Tiles are encoded anyway; of the features of each level (C channels) these numbers are kept, over all cells
that lie in the image: the mean, the logarithm of the standard deviation, and along each axis the slope, which
is the covariance with the position from -1 at the image's first edge to 1 at its last. *S is the network's
grid; D axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ldseg.inference.sliding_window import Tile, Tiling

Statistics = tuple[NDArray[np.float64], ...]
"""Of each level, finest first: (2 + D, C), mean, log deviation, and slopes in the order of the axes."""
_LEAST_VARIANCE = 1e-6


class FeatureStatistics:
    """Sums of features over the tiles of one image."""

    def __init__(self, tiling: Tiling) -> None:
        self._tiling = tiling
        self._sums: list[NDArray[np.float64]] = []
        self._weights: list[NDArray[np.float64]] = []

    def add(self, tile: Tile, features: Sequence[Tensor]) -> None:
        """Add the features (1, C, *cells) of a tile, level by level; none if the model has none."""
        weights = tile.weight.clone()
        for axis, (corner, size) in enumerate(zip(tile.corner, self._tiling.shape, strict=True)):
            depth = weights.shape[axis]
            beyond = min(depth, max(0, size - corner))  # padding does not count
            weights.narrow(axis, beyond, depth - beyond).zero_()
        for level, maps in enumerate(features):
            weights = _sums_of_blocks(weights, maps.shape[2:])  # of finer cells: levels become coarser
            basis = self._basis(tile, weights)
            cells = (
                maps[0].detach().movedim(0, -1).reshape(-1, maps.shape[1]).float()
            )  # no copy: channels last
            on_device = basis.to(cells.device)
            sums = torch.cat([on_device @ cells, on_device[:1] @ cells.square()])
            if level == len(self._sums):
                self._sums.append(np.zeros(tuple(sums.shape)))
                self._weights.append(np.zeros(len(basis)))
            self._sums[level] += sums.double().cpu().numpy()
            self._weights[level] += basis.sum(1).double().numpy()

    def result(self) -> Statistics:
        """Return the statistics of what was added; no level if there were no features."""
        return tuple(_moments(s, w) for s, w in zip(self._sums, self._weights, strict=True))

    def _basis(self, tile: Tile, weight: Tensor) -> Tensor:
        """Return the weight of each cell and its products with the positions, (1 + D, cells)."""
        cells, rows = weight.shape, [weight]
        for axis, k in enumerate(cells):
            places = tile.corner[axis] + (torch.arange(k) + 0.5) * (self._tiling.patch[axis] / k)
            position = places / self._tiling.shape[axis] * 2 - 1
            rows.append(weight * position.reshape([-1] + [1] * (len(cells) - 1 - axis)))
        return torch.stack(rows).flatten(1)


def _sums_of_blocks(weights: Tensor, cells: Sequence[int]) -> Tensor:
    """Return weights on a coarser grid of `cells`."""
    for axis, k in enumerate(cells):
        weights = weights.unflatten(axis, (k, weights.shape[axis] // k)).sum(axis + 1)
    return weights


def _moments(sums: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return mean, log deviation and slopes from sums of f, of f times each position, and of f squared."""
    mean = sums[0] / weights[0]
    variance = sums[-1] / weights[0] - mean**2
    slopes = [(s - w * mean) / weights[0] for s, w in zip(sums[1:-1], weights[1:], strict=True)]
    return np.stack([mean, 0.5 * np.log(np.maximum(variance, _LEAST_VARIANCE)), *slopes])
