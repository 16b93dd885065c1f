"""Decides on labels by the risk that posterior samples expect of them, Dice loss for one.

The argmax of the mean probabilities is the best decision for the share of correct voxels, not for Dice. Here
the decision is argmax_k of log p_k + b_k, with an offset b_k for each structure k and 0 for the background:
each voxel has one label, offsets of 0 are the argmax, and the offset of a single structure is a threshold.
The offsets are those with the least mean risk over structures k and samples s,

    1/S sum_s r(A_k, Y_sk),    Dice loss: r = 1 - 2 |A_k and Y_sk| / (|A_k| + |Y_sk|), 0 if both are empty

found by coordinate descent from 0, which is exact along each coordinate. Log-odds log p_k - log p_0 are
rounded up to `STEP`, so that counts of voxels by their levels and by what each sample decides are all that
the search needs: they are summed block by block, and their number does not grow with the image.

K classes; S samples; N voxels, or kinds of voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from ldseg.metrics.dice import dice_of_counts

Decision = Literal["argmax", "expected-dice"]
"""How labels follow from the posterior."""
DECISIONS: tuple[Decision, ...] = get_args(Decision)

STEP = 0.125
"""Step of the log-odds, 0.03 in probability at 0.5."""
LIMIT = 48
"""Levels and offsets lie within this many steps of 0: probabilities of 0.0025 to 0.9975."""
_FLOOR = 1e-6
_SWEEPS = 8
_GAIN = 1e-9  # least improvement of the mean risk: rounding is no improvement
_GROUPS = 2**62


class Risk(Protocol):
    """The loss of a region against a sample's, from counts of voxels, element by element."""

    def __call__(
        self, common: NDArray[np.float64], sizes: NDArray[np.float64], sample_sizes: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the loss, 0 for equal regions. `common` counts the voxels of both regions."""
        ...


def dice_risk(
    common: NDArray[np.float64], sizes: NDArray[np.float64], sample_sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return 1 - Dice; 0 where both regions are empty."""
    return 1 - dice_of_counts(common, sizes + sample_sizes)


@dataclass(frozen=True)
class LabelRule:
    """A decision that was made for an image."""

    offsets: tuple[int, ...] | None
    """b_k of each structure in units of `STEP`; None for the argmax."""
    risks: tuple[float, ...]
    """Mean risk of each structure over the samples."""

    def classes(self, levels: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        """Return the classes (*R) of voxels with `levels` (K, *R) as `pack_levels` makes them."""
        if self.offsets is None:
            return levels[0]
        best = np.zeros(levels.shape[1:], np.int16)  # the background's score
        classes = np.zeros_like(levels[0])
        for k, offset in enumerate(self.offsets, start=1):
            score = levels[k].astype(np.int16) + (offset - LIMIT)
            better = score > best
            classes[better], best[better] = k, score[better]
        return classes


def pack_levels(probabilities: NDArray[np.float32]) -> NDArray[np.unsignedinteger]:
    """Return all that decisions need of `probabilities` (K, *R): the argmax, and for each structure the level
    of its log-odds against the background, 0 to 2 `LIMIT`, `LIMIT` + 1 and more where it is the likelier.

    The background counts as less likely than the likeliest structure by `LIMIT` steps at most, so that
    structures beside each other keep their odds where the background is far less likely than both."""
    packed = np.empty(probabilities.shape, index_type(len(probabilities)))
    packed[0] = probabilities.argmax(0)
    least = probabilities[1:].max(0) * np.float32(np.exp(-LIMIT * STEP))
    background = np.log(np.maximum(np.maximum(probabilities[0], least), _FLOOR))
    for k in range(1, len(probabilities)):
        odds = np.log(np.maximum(probabilities[k], _FLOOR)) - background
        packed[k] = np.clip(np.ceil(odds / STEP), -LIMIT, LIMIT) + LIMIT
    return packed


def index_type(classes: int) -> np.dtype[np.unsignedinteger]:
    """Return the smallest type of the indices of so many classes; it holds levels too."""
    return np.min_scalar_type(classes - 1)


class PosteriorCounts:
    """Counts of the voxels of an image by their levels and by the classes that the samples decide for."""

    def __init__(self, classes: int, samples: int) -> None:
        self._classes, self._samples = classes, samples
        self._columns = np.zeros((classes + samples, 0), index_type(classes))
        self._weights = np.zeros(0)

    def add(
        self,
        probabilities: NDArray[np.float32],
        samples: NDArray[np.unsignedinteger],
        weights: NDArray[np.float64],
    ) -> None:
        """Add voxels: mean probabilities (K, N), the classes of each sample (S, N), and weights (N,), the
        shares in which they count."""
        self.add_levels(pack_levels(probabilities), samples, weights)

    def add_levels(
        self,
        levels: NDArray[np.unsignedinteger],
        samples: NDArray[np.unsignedinteger],
        weights: NDArray[np.float64],
    ) -> None:
        """Add voxels, as `add`, with `levels` (K, N) from `pack_levels`."""
        relevant = samples.any(0) | levels.any(0)  # the others are background in every decision
        columns = np.concatenate([levels[:, relevant], samples[:, relevant]])
        self._columns = np.concatenate([self._columns, columns], axis=1)
        self._weights = np.concatenate([self._weights, weights[relevant]])
        first, group = _group(self._columns)
        self._weights = np.bincount(group, self._weights, minlength=len(first)).astype(np.float64)
        self._columns = self._columns[:, first]

    def decide(self, risk: Risk = dice_risk) -> LabelRule:
        """Return the decision with the least mean risk over structures and samples that the search finds, the
        argmax where none is better."""
        argmax, levels = self._columns[0], self._columns[1 : self._classes]
        samples = self._columns[self._classes :]
        search = _Search(levels.astype(np.int64) - LIMIT, samples, self._weights, risk)
        offsets, found = search.descend()
        plain = search.risks(argmax)
        if found.mean() < plain.mean() - _GAIN:
            return LabelRule(tuple(offsets), tuple(found.tolist()))
        return LabelRule(None, tuple(plain.tolist()))


def decide_labels(
    probabilities: NDArray[np.float32], samples: NDArray[np.unsignedinteger], risk: Risk = dice_risk
) -> tuple[NDArray[np.unsignedinteger], LabelRule]:
    """Return the classes (*S) with the least expected risk, and the rule behind them.

    Args:
        probabilities: mean probabilities (K, *S).
        samples: classes of each sample (samples, *S).
        risk: the loss of a region against a sample's.
    """
    counts = PosteriorCounts(len(probabilities), len(samples))
    levels = pack_levels(probabilities)
    flat = levels.reshape(len(levels), -1)
    counts.add_levels(flat, samples.reshape(len(samples), -1), np.ones(flat.shape[1]))
    rule = counts.decide(risk)
    return rule.classes(levels), rule


class _Search:
    """Coordinate descent over the offsets, on voxels with levels (K - 1, N), samples (S, N) and weights."""

    def __init__(
        self,
        levels: NDArray[np.int64],
        samples: NDArray[np.unsignedinteger],
        weights: NDArray[np.float64],
        risk: Risk,
    ) -> None:
        self.levels, self.samples, self.weights, self.risk = levels, samples, weights, risk
        self.structures = range(1, len(levels) + 1)
        self.sample_sizes = np.array(
            [[weights[sample == k].sum() for sample in samples] for k in self.structures]
        )

    def risks(self, classes: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean risk of each structure (K - 1,) for a decision (N,)."""
        found: list[float] = []
        for k, sample_sizes in zip(self.structures, self.sample_sizes, strict=True):
            weights = self.weights * (classes == k)
            common = np.array([weights[sample == k].sum() for sample in self.samples])
            found.append(float(self.risk(common, np.full(len(common), weights.sum()), sample_sizes).mean()))
        return np.array(found)

    def descend(self) -> tuple[list[int], NDArray[np.float64]]:
        """Return the offsets of the structures, and the mean risk of each."""
        offsets = [0 for _ in self.structures]
        best = np.inf
        for _ in range(_SWEEPS):
            before = best
            for k in self.structures:
                risks = self._along(k, offsets).mean(0)
                order = np.argsort(np.abs(_CANDIDATES), kind="stable")  # of equals that nearest to 0
                chosen = int(order[risks[order].argmin()])
                if risks[chosen] < best - _GAIN:
                    offsets[k - 1], best = int(_CANDIDATES[chosen]), float(risks[chosen])
            if not best < before - _GAIN:
                break
        scores = np.concatenate([np.zeros((1, self.levels.shape[1])), self.levels + np.c_[offsets]])
        return offsets, self.risks(scores.argmax(0))

    def _along(self, k: int, offsets: Sequence[int]) -> NDArray[np.float64]:
        """Return the mean risk of each structure at every offset of structure `k`, (K - 1, candidates).

        A voxel goes to `k` from a critical offset on, and belongs to a rival below it.
        """
        scores = np.concatenate([np.zeros((1, self.levels.shape[1])), self.levels + np.c_[list(offsets)]])
        before, behind = scores[:k].max(0), scores[k + 1 :].max(0, initial=-np.inf)
        critical = np.maximum(before + 1, behind) - self.levels[k - 1]  # of equals the first class wins
        scores[k] = -np.inf
        rival = scores.argmax(0)
        place = np.clip(critical + LIMIT, 0, len(_CANDIDATES)).astype(np.int64)

        found: list[NDArray[np.float64]] = []
        for j, sample_sizes in zip(self.structures, self.sample_sizes, strict=True):
            held = self.weights if j == k else self.weights * (rival == j)
            sizes = _taken(place, held, j == k)
            risks = [
                self.risk(_taken(place, held * (sample == j), j == k), sizes, np.full_like(sizes, size))
                for sample, size in zip(self.samples, sample_sizes, strict=True)
            ]
            found.append(np.mean(risks, axis=0))
        return np.stack(found)


_CANDIDATES = np.arange(-LIMIT, LIMIT + 1)


def _taken(place: NDArray[np.int64], weights: NDArray[np.float64], by_itself: bool) -> NDArray[np.float64]:
    """Return the weight of the voxels that a structure has at each candidate: those that lie at or below it
    where they are taken `by_itself`, else those that are not taken yet."""
    passed = np.bincount(place, weights, minlength=len(_CANDIDATES) + 1).astype(np.float64).cumsum()
    return passed[:-1] if by_itself else passed[-1] - passed[:-1]


def _group(columns: NDArray[np.unsignedinteger]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the index of the first of each kind of equal columns, and the kind of each column."""
    key, kinds = np.zeros(columns.shape[1], np.int64), 1
    for row in columns:
        values = int(row.max(initial=0)) + 1
        if kinds * values > _GROUPS:
            _, key = np.unique(key, return_inverse=True)
            kinds = int(key.max(initial=0)) + 1
        key, kinds = key * values + row, kinds * values
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    return first, group
