"""Risk-coverage curve and the area under it (AURC): whether low confidence finds the errors.

Of N items sorted from the surest down, the risk at coverage i/N is the mean loss of the first i. AURC is its
mean over i = 1..N (Geifman & El-Yaniv 2017; Geifman et al. 2019); a random order gives the mean loss. The
excess is AURC minus that of the best possible order, which the losses themselves give: it judges the
confidence, AURC confidence and accuracy together. Both are better when lower.

Items come in groups of equal confidence, from the surest group down: `counts` (G,) items and `losses` (G,),
the sum of each group's losses. Within a group the order is random and the expectation is taken in closed
form, so that a histogram of confidences is enough and ties are no gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma

CURVE_POINTS = 20


@dataclass(frozen=True)
class RiskPoint:
    """Mean loss of the surest `coverage` of all items."""

    coverage: float
    risk: float


def area_under_risk(counts: ArrayLike, losses: ArrayLike) -> float:
    """Return the AURC of groups from the surest down.

    Over a group of g items with losses e behind n0 items with losses E, the sum of (E + e (i - n0) / g) / i
    for i = n0+1 .. n0+g is e + (E - e n0 / g) (H(n0 + g) - H(n0)), H being the harmonic numbers.
    """
    sizes, sums = _groups(counts, losses)
    before = np.cumsum(sizes) - sizes  # n0
    lost = np.cumsum(sums) - sums  # E
    harmonic = digamma(before + sizes + 1) - digamma(before + 1)
    total = (sums + (lost - sums / sizes * before) * harmonic).sum()
    return float(total / sizes.sum())


def risk_coverage_curve(
    counts: ArrayLike, losses: ArrayLike, points: int = CURVE_POINTS
) -> tuple[RiskPoint, ...]:
    """Return the risk at `points` even coverages up to 1; groups run from the surest down."""
    sizes, sums = _groups(counts, losses)
    coverages = np.arange(1, points + 1) / points
    items = np.concatenate([[0], np.cumsum(sizes)])
    lost = np.interp(coverages * items[-1], items, np.concatenate([[0], np.cumsum(sums)]))
    risks = lost / (coverages * items[-1])
    return tuple(RiskPoint(float(c), float(r)) for c, r in zip(coverages, risks, strict=True))


def group_by_confidence(
    confidences: Sequence[float], losses: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the counts and summed losses of items grouped by confidence, from the surest down."""
    _, group, counts = np.unique(-np.asarray(confidences, float), return_inverse=True, return_counts=True)
    sums = np.zeros(len(counts))
    np.add.at(sums, group.ravel(), np.asarray(losses, float))
    return counts.astype(float), sums


def _groups(counts: ArrayLike, losses: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return counts and losses without empty groups. Raises ValueError where no group is left."""
    sizes, sums = np.asarray(counts, float), np.asarray(losses, float)
    if not sizes.sum() > 0:
        raise ValueError("no items: the risk of nothing has no value")
    return sizes[sizes > 0], sums[sizes > 0]
