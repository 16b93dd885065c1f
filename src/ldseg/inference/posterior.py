"""Statistics of posterior samples, accumulated tile by tile in memory that grows neither with the samples nor
with the image along the axis of the tiling.

Tiles come in the order of their corners along that axis. What later tiles cannot reach is complete and leaves
as a `Slab`; sums are held for the rest alone, a window as deep as a patch.

Over tiles the mean probabilities p are exact, and a voxel counts for a class by the weight of the tiles that
decide for it, so that volumes need no label map per sample. The mean entropy of the samples is blended from
the tiles' own; entropy is concave, so the mutual information H(p) - mean H(p_s) stays >= 0, and where
neighbouring tiles disagree it counts as disagreement, as it does in the pairwise Dice. Entropies are in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ldseg.inference.backends.backend import DETERMINISTIC_WEIGHT, TileBlock
from ldseg.inference.sliding_window import Tile, Tiling
from ldseg.metrics.dice import dice_of_counts

INTERVAL = (0.05, 0.95)
"""Quantiles over the samples that bound a volume."""


@dataclass(frozen=True)
class VolumeEstimate:
    """Size of a structure over the samples, in the `volume_unit` beside it: mm^3, mm^2, or voxels where the
    image has no physical spacing (`data.units.size_unit`)."""

    mean: float
    low: float
    """5 % quantile over the samples."""
    high: float
    """95 % quantile."""


@dataclass(frozen=True)
class Slab:
    """Complete statistics of the image between two planes across an axis; *R is their grid."""

    start: int
    """The first plane, on the network's grid."""
    mean: Tensor
    """Mean probabilities of samples and deterministic predictions (K, *R)."""
    entropy: Tensor
    """Mean entropy of the single samples and deterministic predictions, (1, *R), in nats; 0 of one sample."""
    frequencies: Tensor
    """Share of the samples that decide for each structure, (K - 1, *R); fractional where tiles disagree."""
    samples: Tensor
    """Probabilities of the structures in each sample, (samples, K - 1, *R); no samples unless kept."""

    def copied(self) -> Slab:
        """Return a slab with memory of its own."""
        return Slab(
            self.start, self.mean.clone(), self.entropy.clone(), self.frequencies, self.samples.clone()
        )


@dataclass
class _TileSums:
    """Sums over the predictions of one tile, where they are computed: what leaves a GPU does not grow with
    the samples."""

    tile: Tile
    mean: Tensor | None = None
    """(K, *S)."""
    entropy: Tensor | None = None
    """(1, *S)."""
    votes: Tensor | None = None
    """(K - 1, *S), integers."""


def _plus(sums: Tensor | None, addend: Tensor) -> Tensor:
    """Return sums + addend; the sums' memory, or of the first addend its own, is used for them."""
    return addend if sums is None else sums.add_(addend)


class Posterior:
    """Sums over tiles and samples, in the window of the covered grid that later tiles can reach."""

    def __init__(
        self, classes: int, tiling: Tiling, samples: int, keep_samples: bool = False, deterministic: int = 0
    ) -> None:
        """Expect each tile of `tiling`, in its order, for each of `samples` and `deterministic`
        predictions."""
        self._tiling, self._samples, self._start = tiling, samples, 0
        self._tile: _TileSums | None = None
        self._weight, self._deterministic_weight = mean_weights(samples, deterministic)
        window = list(tiling.covered)
        window[tiling.axis] = tiling.patch[tiling.axis]
        self._mean = torch.zeros(classes, *window)
        self._entropy = torch.zeros(1, *window)
        self._votes = torch.zeros(classes - 1, *window)  # the background's follow from these
        self._kept = torch.zeros(samples if keep_samples else 0, classes - 1, *window)
        self._counts = torch.zeros(samples, classes, dtype=torch.float64)
        self._common = torch.zeros(classes - 1, dtype=torch.float64)
        self._total = torch.zeros(classes - 1, dtype=torch.float64)

    def add(self, tile: Tile, block: TileBlock) -> None:
        """Add samples, or a deterministic prediction, of a tile to the mean and its entropy."""
        weight = self._weight if block.samples else self._deterministic_weight
        sums, probabilities = self._sums_of(tile), block.probabilities
        total = probabilities[0] if len(probabilities) == 1 else probabilities.sum(0)
        sums.mean = _plus(sums.mean, weight * total)
        if self._samples > 1:  # one sample disagrees with nothing
            sums.entropy = _plus(sums.entropy, weight * entropy(probabilities, 1).sum(0, keepdim=True))

    def _sums_of(self, tile: Tile) -> _TileSums:
        """Return the sums over the predictions of the tile that is being computed."""
        if self._tile is None:
            self._tile = _TileSums(tile)
        return self._tile

    def _blend(self) -> None:
        """Add the sums of a tile that is done to the window, by the tile's weights."""
        if self._tile is None:
            return
        tile, region = self._tile.tile, self._region(self._tile.tile)
        pairs = (
            (self._mean, self._tile.mean),
            (self._entropy, self._tile.entropy),
            (self._votes, self._tile.votes),
        )
        for window, sums in pairs:
            if sums is not None:
                window[(slice(None), *region)].addcmul_(tile.weight, sums.cpu().float())
        self._tile = None

    def _region(self, tile: Tile) -> tuple[slice, ...]:
        """Return the tile's place in the window."""
        region = list(tile.region)
        along = region[self._tiling.axis]
        region[self._tiling.axis] = slice(along.start - self._start, along.stop - self._start)
        return tuple(region)

    def count(self, tile: Tile, block: TileBlock) -> None:
        """Count the classes that samples of a tile decide for: in volumes, frequencies and agreement. A
        deterministic prediction counts in none of these."""
        if not block.samples:
            return
        labels, sums = likeliest(block.probabilities, 1).cpu(), self._sums_of(tile)
        # NumPy compares integers, and sums booleans into int32, in a fraction of PyTorch's time.
        deciding = [(labels.numpy() == k).sum(0, dtype=np.int32) for k in range(1, len(self._mean))]
        sums.votes = _plus(sums.votes, torch.from_numpy(np.stack(deciding)))
        counts = count_classes(tile, self._tiling.shape, labels, len(self._mean))
        for sample, counted, probabilities in zip(block.samples, counts, block.probabilities, strict=True):
            self._counts[sample] += counted
            if len(self._kept) > 0:
                kept = self._kept[(sample, slice(None), *self._region(tile))]
                kept.addcmul_(tile.weight, probabilities[1:].cpu())

    def finish(self, before: int | None = None) -> Slab | None:
        """Return what is complete once no later tile starts before the plane `before` (None: there is no
        later tile); None if nothing is."""
        self._blend()
        axis = self._tiling.axis
        end = self._tiling.covered[axis] if before is None else before
        if end <= self._start:
            return None
        slab = self._slab(end)
        if before is not None:
            slab = slab.copied()
            for sums in (self._mean, self._entropy, self._votes, self._kept):
                _advance_window(sums, sums.ndim - len(self._tiling.shape) + axis, end - self._start)
        self._start = end
        return slab

    def counts(self) -> NDArray[np.float64]:
        """Return the voxels of each class in each sample (samples, K): the tiles' decisions by their
        weights."""
        return self._counts.numpy()

    def pairwise_dice(self) -> NDArray[np.float64]:
        """Return the Dice between two samples, pooled over all pairs, (K - 1,) for the structures, of what
        is finished.

        With n_v of S samples deciding for the structure in voxel v, the pairs have sum_v n_v (n_v - 1) / 2
        voxels in common, and together (S - 1) sum_v n_v, so that no sample need be kept. 1 where
        no sample has the structure. Raises ValueError for one sample.
        """
        others = self._samples - 1
        if others < 1:
            raise ValueError("one sample has no pairs; draw at least 2")
        return np.minimum(dice_of_counts(self._common.numpy() / 2, others * self._total.numpy()), 1.0)

    def _slab(self, end: int) -> Slab:
        """Return the window's planes before `end`, as far as they are image; they are the window's memory."""
        axis, region = self._tiling.axis, list(self._tiling.inside)
        depth = min(end, self._tiling.shape[axis]) - self._start
        region[axis] = slice(0, max(0, depth))
        votes = self._votes[(slice(None), *region)]
        if self._samples > 1:  # one sample has no pairs
            for k, one in enumerate(votes):  # structure by structure, for memory
                self._total[k] += one.sum(dtype=torch.float64)
                self._common[k] += (one * (one - 1).clamp_(min=0)).sum(dtype=torch.float64)
        return Slab(
            self._start,
            self._mean[(slice(None), *region)],
            self._entropy[(slice(None), *region)],
            votes / self._samples,
            self._kept[(slice(None), slice(None), *region)],
        )


def _advance_window(sums: Tensor, axis: int, planes: int) -> None:
    """Drop the first `planes` along `axis`; the others move up, zeros follow."""
    depth = sums.shape[axis]
    for source in range(planes, depth, planes):  # so many at once as do not overlap with their target
        number = min(planes, depth - source)
        sums.narrow(axis, source - planes, number).copy_(sums.narrow(axis, source, number))
    sums.narrow(axis, max(0, depth - planes), min(planes, depth)).zero_()


def mean_weights(samples: int, deterministic: int) -> tuple[float, float]:
    """Return the weight of a sample, and of a deterministic prediction, in the mean probabilities."""
    of_samples = 1 - DETERMINISTIC_WEIGHT if deterministic else 1.0
    return of_samples / samples, DETERMINISTIC_WEIGHT / max(1, deterministic)


def mean_share(block: TileBlock, weights: tuple[float, float]) -> Tensor:
    """Return what a block adds to the mean probabilities (K, *S) of its tile, by the `weights` of a sample
    and of a deterministic prediction."""
    of_sample, of_deterministic = weights
    return (of_sample if block.samples else of_deterministic) * block.probabilities.sum(0)


def count_classes(tile: Tile, shape: tuple[int, ...], labels: Tensor, classes: int) -> Tensor:
    """Return the voxels of each class (B, K) in labels (B, *S) of a tile, by its weight, as far as they lie
    in an image of `shape`."""
    inside = tile.inside(shape)
    weights = tile.weight[inside].double().flatten()
    return torch.stack([torch.bincount(one[inside].flatten(), weights, minlength=classes) for one in labels])


def entropy(probabilities: Tensor, axis: int) -> Tensor:
    """Return the Shannon entropy in nats over the classes on `axis`, to 3e-7; on a CPU this takes half the
    time of `torch.special.entr`."""
    logarithms = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log_()
    return logarithms.mul_(probabilities).sum(axis).neg_()


def likeliest(probabilities: Tensor, axis: int) -> Tensor:
    """Return the likeliest class on `axis`, the first of equals, int16; class by class, which on a CPU takes
    an eighth of `max`'s time."""
    first, *others = probabilities.unbind(axis)
    classes, best = torch.zeros_like(first, dtype=torch.int16), first
    for k, probability in enumerate(others, start=1):
        # A class that is likelier than all before it has the largest number so far.
        classes = torch.maximum(classes, (probability > best).short() * k)
        best = torch.maximum(best, probability)
    return classes


def estimate_volumes(
    counts: NDArray[np.float64], names: Sequence[str], voxel_size: float
) -> dict[str, VolumeEstimate]:
    """Return the volume of each structure from `counts` (samples, K); `names` are the K classes, background
    first."""
    sizes = counts * voxel_size
    return {name: interval_of(sizes[:, k]) for k, name in enumerate(names) if k > 0}


def interval_of(sizes: NDArray[np.float64]) -> VolumeEstimate:
    """Return mean and quantiles of a structure's size in each sample (samples,)."""
    return VolumeEstimate(float(sizes.mean()), *(float(q) for q in np.quantile(sizes, INTERVAL)))


class Confidence:
    """The confidence in a segmentation as a whole, 0 to 1: the Dice to expect of the likeliest labels.

    For each structure the soft Dice between the labels and their own probabilities (K, *S),
    2 sum_{v in A} p_v / (|A| + sum_v p_v) (soft Dice confidence, Borges et al. 2024, arXiv 2402.10665);
    where the labels have none of it, the probability that its likeliest voxel is not there. The mean over
    the structures. It needs no samples, so that models and baselines compare.
    """

    def __init__(self, classes: int) -> None:
        self._size, self._expected, self._soft, self._peak = np.zeros((4, classes))

    def add(self, probabilities: NDArray[np.float32], labels: NDArray[Any]) -> None:
        """Add a part of the image: probabilities (K, *R) and their likeliest classes (*R)."""
        for k in range(1, len(probabilities)):
            probability, segmented = probabilities[k], labels == k
            self._size[k] += np.count_nonzero(segmented)
            self._expected[k] += (probability * segmented).sum(dtype=np.float64)
            self._soft[k] += probability.sum(dtype=np.float64)
            self._peak[k] = max(self._peak[k], probability.max(initial=0))

    def value(self) -> float:
        """Return the confidence for all that was added."""
        dice = dice_of_counts(self._expected, self._size + self._soft)
        return float(np.where(self._size > 0, dice, 1 - self._peak)[1:].mean())


def case_confidence(probabilities: NDArray[np.float32]) -> float:
    """Return the `Confidence` of a whole image, probabilities (K, *S)."""
    confidence = Confidence(len(probabilities))
    confidence.add(probabilities, probabilities.argmax(0))
    return confidence.value()
