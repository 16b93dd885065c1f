"""Ambiguity metrics: whether the samples of a model spread as the annotations of several raters do.

n samples S and m raters Y of one case, label maps (*S); d = 1 - IoU. With several structures IoU and Dice are
means over them; two maps that both lack a structure agree on it (IoU and Dice 1, d = 0).

GED^2           2 E d(S, Y) - E d(S, S') - E d(Y, Y'), expectations over all pairs, a map with itself included
                (Szekely & Rizzo 2013; Kohl et al. 2018). 0 for equal distributions, lower is better.
HM-IoU          mean IoU of the best one-to-one matching of samples and raters, both repeated up to the least
                common multiple of n and m (Kohl et al. 2019). Higher is better.
Dice-match      mean over raters of the best Dice that any sample has with them (Rahman et al. 2023).
                It does not fall when samples are added: compare at equal n.
diversity       mean d over pairs of two different samples, and of two different raters; the two should be
                equal.
majority, STAPLE  Dice of the one prediction with the raters fused that way (see `label_fusion`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ldseg.metrics.dice import dice_of_counts
from ldseg.metrics.label_fusion import majority, staple

Labels = NDArray[np.integer]
Matrix = NDArray[np.float64]
_BLOCK = 2**20  # voxels taken at once


@dataclass(frozen=True)
class AmbiguityMetrics:
    """The ambiguity metrics of one case; the module's docstring has the formulas."""

    ged2: float
    hm_iou: float
    dice_match: float
    sample_diversity: float
    """0 for one sample."""
    rater_diversity: float
    """0 for one rater."""
    majority_dice: float
    staple_dice: float


@dataclass(frozen=True)
class Overlap:
    """Voxels, or sums of their weights, by structure of two lists of label maps, a (n) and b (m)."""

    common: Matrix
    """(structures, n, m)"""
    sizes_a: Matrix
    """(structures, n)"""
    sizes_b: Matrix
    """(structures, m)"""

    def __add__(self, other: Overlap) -> Overlap:
        """Return the overlap of the same maps in two parts of an image together."""
        return Overlap(self.common + other.common, self.sizes_a + other.sizes_a, self.sizes_b + other.sizes_b)

    def iou(self) -> Matrix:
        """Return the mean IoU over the structures (n, m)."""
        union = self.sizes_a[:, :, None] + self.sizes_b[:, None] - self.common
        return np.divide(self.common, union, out=np.ones_like(union), where=union > 0).mean(0)

    def dice(self) -> Matrix:
        """Return the mean Dice over the structures (n, m)."""
        total = self.sizes_a[:, :, None] + self.sizes_b[:, None]
        return dice_of_counts(self.common, total).mean(0)


def ambiguity_metrics(
    samples: Sequence[Labels],
    raters: Sequence[Labels],
    fused: Labels,
    structures: Sequence[int],
    ignore_id: int | None = None,
) -> AmbiguityMetrics:
    """Return the metrics of one case from label maps (*S) with the ids `structures`.

    Voxels that any rater left unlabelled (`ignore_id`) do not count. Raises ValueError without a sample, a
    rater or a structure, and for maps of different shapes.
    """
    if not (samples and raters and structures):
        raise ValueError("give at least one sample, one rater and one structure")
    if len({one.shape for one in (*samples, *raters, fused)}) > 1:
        raise ValueError("the label maps have different shapes")
    predicted, true, prediction = _labelled(samples, raters, fused, ignore_id)
    between = count_overlap(predicted, true, structures)
    among_samples, among_raters = (count_overlap(maps, maps, structures).iou() for maps in (predicted, true))
    fused_raters = [majority(true, structures), staple(true, structures)]
    agreed = count_overlap([prediction], fused_raters, structures).dice()[0]
    return AmbiguityMetrics(
        ged2=float(2 * (1 - between.iou()).mean() - (1 - among_samples).mean() - (1 - among_raters).mean()),
        hm_iou=hungarian_iou(between.iou()),
        dice_match=float(between.dice().max(0).mean()),
        sample_diversity=_diversity(among_samples),
        rater_diversity=_diversity(among_raters),
        majority_dice=float(agreed[0]),
        staple_dice=float(agreed[1]),
    )


def pairwise_dice(raters: Sequence[Labels], structures: Sequence[int], ignore_id: int | None = None) -> float:
    """Return the mean Dice over pairs of different raters' label maps (*S); 1 for one rater."""
    true = _labelled((), raters, raters[0], ignore_id)[1]
    return 1 - _diversity(count_overlap(true, true, structures).dice())


def hungarian_iou(iou: Matrix) -> float:
    """Return the mean IoU of the best one-to-one matching of rows (n) and columns (m).

    Both are repeated up to the least common multiple of n and m.
    """
    n, m = iou.shape
    common = math.lcm(n, m)
    repeated = np.tile(iou, (common // n, common // m))
    rows, columns = linear_sum_assignment(repeated, maximize=True)
    return float(repeated[rows, columns].mean())


def inclusion_frequency(samples: Sequence[Labels], region: NDArray[np.bool_], structure: int) -> float:
    """Return the share of the samples that assign more than half of `region` (*S) to a structure.

    Compare it with how often raters include the region.
    """
    if not region.any():
        raise ValueError("the region has no voxel")
    return float(np.mean([np.mean(one[region] == structure) > 0.5 for one in samples]))


def _diversity(iou: Matrix) -> float:
    """Return the mean of 1 - IoU over pairs of different maps, from the matrix (n, n) of all pairs."""
    n = len(iou)
    return float((1 - iou).sum() / (n * (n - 1))) if n > 1 else 0.0


def _labelled(
    samples: Sequence[Labels], raters: Sequence[Labels], fused: Labels, ignore_id: int | None
) -> tuple[list[Labels], list[Labels], Labels]:
    """Return all maps restricted to the N voxels that every rater labelled, each (N,)."""
    if ignore_id is None:
        return [one.ravel() for one in samples], [one.ravel() for one in raters], fused.ravel()
    kept = np.logical_and.reduce([one != ignore_id for one in raters])
    return [one[kept] for one in samples], [one[kept] for one in raters], fused[kept]


def count_overlap(
    a: Sequence[Labels],
    b: Sequence[Labels],
    structures: Sequence[int],
    weights: NDArray[np.floating] | None = None,
) -> Overlap:
    """Return the overlap of maps (N,), each voxel counted by its weight (N,), 1 without weights; block by
    block, to bound memory."""
    common = np.zeros((len(structures), len(a), len(b)))
    sizes_a, sizes_b = np.zeros((len(structures), len(a))), np.zeros((len(structures), len(b)))
    for first in range(0, a[0].size, _BLOCK):
        part = slice(first, first + _BLOCK)
        for index, structure in enumerate(structures):
            in_a, in_b = (np.array([one[part] == structure for one in maps], np.float32) for maps in (a, b))
            counted = in_a if weights is None else in_a * weights[part].astype(np.float32)
            common[index] += counted @ in_b.T  # whole numbers below 2^24 are exact in float32
            sizes_a[index] += counted.sum(1)
            sizes_b[index] += in_b.sum(1) if weights is None else in_b @ weights[part].astype(np.float32)
    return Overlap(common, sizes_a, sizes_b)
