"""Statistics of posterior samples, gathered tile by tile in memory that does not grow with the samples.

Over tiles the mean probabilities p are exact, and a voxel counts for a class by the share of the tiles that
decide for it, so that volumes need no label map per sample. The mean entropy of the samples is blended from
the tiles' own; entropy is concave, so the mutual information H(p) - mean H(p_s) stays >= 0, and where
neighbouring tiles disagree it counts as disagreement, as it does in the pairwise Dice. Entropies are in nats.
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
        self._votes = torch.zeros(classes - 1, *tiling.covered)  # the background's follow from these
        self._counts = torch.zeros(len(samples), classes, dtype=torch.float64)

    def add(self, tile: Tile, first: int, probabilities: Tensor) -> None:
        """Take the probabilities (B, K, *patch) that samples `first`, `first` + 1 ... have in a tile."""
        share = tile.share / len(self._samples)
        self._mean[(slice(None), *tile.region)] += share * probabilities.sum(0).cpu()
        self._entropy[tile.region] += share * entropy(probabilities, 1).sum(0).cpu()
        labels = probabilities.max(1).indices.cpu()  # twelve times as fast as argmax on a CPU
        for k in range(1, len(self._mean)):
            self._votes[(k - 1, *tile.region)] += tile.share * (labels == k).sum(0)
        inside = self._inside(tile)
        weights = tile.share[inside].double().flatten()
        for offset, one in enumerate(labels):
            found = torch.bincount(one[inside].flatten(), weights, minlength=len(self._mean))
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

    def frequencies(self) -> NDArray[np.float32]:
        """Share of the samples that decide for each class, (K, *S')."""
        structures = self._structure_votes() / len(self._samples)
        return torch.cat([1 - structures.sum(0, keepdim=True), structures]).clamp_(0, 1).numpy()

    def pairwise_dice(self) -> NDArray[np.float64]:
        """Dice between two samples, pooled over all pairs, (K - 1,) for the structures.

        With n_v of S samples deciding for the structure in voxel v, the pairs have sum_v n_v (n_v - 1) / 2
        voxels in common, and together (S - 1) sum_v n_v: no pair need be looked at, no sample kept. 1 where
        no sample has the structure. Raises ValueError for one sample.
        """
        votes, others = self._structure_votes(), len(self._samples) - 1
        if others < 1:
            raise ValueError("one sample has no pairs; draw at least 2")
        dice: list[float] = []
        for one in votes:  # structure by structure, for memory
            total = float(one.sum(dtype=torch.float64))
            common = float((one * (one - 1).clamp_(min=0)).sum(dtype=torch.float64))
            dice.append(min(1.0, common / (others * total)) if total > 0 else 1.0)
        return np.array(dice)

    def merge(self, other: Posterior) -> None:
        """Take in the samples of `other`, which follow these."""
        mine, theirs = len(self._samples), len(other._samples)
        self._mean.lerp_(other._mean, theirs / (mine + theirs))
        self._entropy.lerp_(other._entropy, theirs / (mine + theirs))
        self._votes += other._votes
        self._counts = torch.cat([self._counts, other._counts])
        self._samples = range(self._samples.start, other._samples.stop)

    def _structure_votes(self) -> Tensor:
        """Samples that decide for each structure, (K - 1, *S'); broken where tiles disagree."""
        return self._votes[(slice(None), *self._tiling.inside)]

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


def case_confidence(probabilities: NDArray[np.float32]) -> float:
    """How sure an answer is as a whole, 0 to 1: the Dice to expect of the likeliest labels.

    For each structure the soft Dice between the labels and their own probabilities (K, *S),
    2 sum_{v in A} p_v / (|A| + sum_v p_v) (soft Dice confidence, Borges et al. 2024, arXiv 2402.10665);
    where the labels have none of it, the probability that its likeliest voxel is not there. The mean over
    the structures. It needs no samples, so that models and controls compare.
    """
    labels = probabilities.argmax(0)
    return float(np.mean([_confidence(probabilities[k], labels == k) for k in range(1, len(probabilities))]))


def _confidence(probability: NDArray[np.float32], answer: NDArray[np.bool_]) -> float:
    size = int(answer.sum())
    if size == 0:
        return 1 - float(probability.max())
    expected = float(probability.sum(where=answer, dtype=np.float64))
    return 2 * expected / (size + float(probability.sum(dtype=np.float64)))
