"""Statistics of posterior samples, gathered tile by tile in memory that does not grow with the samples.

Over tiles the mean probabilities p are exact, and a voxel counts for a class by the share of the tiles that
decide for it, so that volumes need no label map per sample. The mean entropy of the samples is blended from
the tiles' own; entropy is concave, so the mutual information H(p) - mean H(p_s) stays >= 0, and where
neighbouring tiles disagree it counts as disagreement. Entropies are in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ldseg.inference.tiling import Tile, Tiling

INTERVAL = (0.05, 0.95)
"""Quantiles over the samples that bound a volume."""


@dataclass(frozen=True)
class VolumeEstimate:
    """Size of a structure over the samples: mm^3, or mm^2 in 2D (summed over frames in 2D+time)."""

    mean: float
    low: float
    """5 % quantile over the samples."""
    high: float
    """95 % quantile."""


class Posterior:
    """Sums over tiles and samples; complete when each tile was added for each of `samples`."""

    def __init__(self, classes: int, tiling: Tiling, samples: range) -> None:
        self._tiling = tiling
        self._samples = samples
        self._mean = torch.zeros(classes, *tiling.covered)
        self._entropy = torch.zeros(tiling.covered)
        self._counts = torch.zeros(len(samples), classes, dtype=torch.float64)

    def add(self, tile: Tile, first: int, probabilities: Tensor) -> None:
        """Take the probabilities (B, K, *patch) that samples `first`, `first` + 1 ... have in a tile."""
        share = tile.share / len(self._samples)
        self._mean[(slice(None), *tile.region)] += share * probabilities.sum(0).cpu()
        self._entropy[tile.region] += share * entropy(probabilities, 1).sum(0).cpu()
        inside = self._inside(tile)
        weights = tile.share[inside].double().flatten()
        for offset, labels in enumerate(probabilities.argmax(1).cpu()):
            found = torch.bincount(labels[inside].flatten(), weights, minlength=len(self._mean))
            self._counts[first - self._samples.start + offset] += found

    def probabilities(self) -> NDArray[np.float32]:
        """Mean probabilities (K, *S') on the image's grid."""
        return self._mean[(slice(None), *self._tiling.inside)].numpy()

    def sample_entropy(self) -> NDArray[np.float32]:
        """Mean entropy of the single samples, (*S'), in nats."""
        return self._entropy[self._tiling.inside].numpy()

    def counts(self) -> NDArray[np.float64]:
        """Voxels of each class in each sample (samples, K): the tiles' decisions by their shares."""
        return self._counts.numpy()

    def merge(self, other: Posterior) -> None:
        """Take in the samples of `other`, which follow these."""
        mine, theirs = len(self._samples), len(other._samples)
        self._mean.lerp_(other._mean, theirs / (mine + theirs))
        self._entropy.lerp_(other._entropy, theirs / (mine + theirs))
        self._counts = torch.cat([self._counts, other._counts])
        self._samples = range(self._samples.start, other._samples.stop)

    def _inside(self, tile: Tile) -> tuple[slice, ...]:
        """The part of a tile that is image, not padding."""
        ends = zip(tile.corner, self._tiling.patch, self._tiling.shape, strict=True)
        return tuple(slice(0, max(0, min(patch, size - corner))) for corner, patch, size in ends)


def entropy(probabilities: Tensor, axis: int) -> Tensor:
    """Shannon entropy in nats over the classes on `axis`."""
    return torch.special.entr(probabilities).sum(axis)


def estimate_volumes(
    counts: NDArray[np.float64], names: Sequence[str], voxel_size: float
) -> dict[str, VolumeEstimate]:
    """Volume of each structure from `counts` (samples, K); `names` are the K classes, background first."""
    sizes = counts * voxel_size
    return {
        name: VolumeEstimate(
            float(sizes[:, k].mean()), *(float(q) for q in np.quantile(sizes[:, k], INTERVAL))
        )
        for k, name in enumerate(names)
        if k > 0
    }
