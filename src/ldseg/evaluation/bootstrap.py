"""Seeded bootstrap intervals of a mean, by cases or by subjects.

Cases of one subject resemble each other, so that drawing them one by one makes an interval too narrow; with
`subjects` whole subjects are drawn (cluster bootstrap, percentile interval; Efron & Tibshirani 1993, ch. 13).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """A paired difference of means, with its interval and a test that it is zero."""

    mean: float
    low: float
    high: float
    p_value: float
    """Two-sided Wilcoxon signed-rank test over subjects' mean differences; 1 where all of them are zero."""


def mean_interval(
    values: Sequence[float],
    subjects: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """The interval of `level` of the mean of `values`. One subject alone gives the mean twice."""
    sums, counts = _by_subject(values, subjects)
    draws = np.random.default_rng(seed).integers(len(sums), size=(resamples, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_difference(
    a: Sequence[float], b: Sequence[float], subjects: Sequence[str] | None = None, seed: int = 0
) -> Difference:
    """b minus a, case by case in equal order."""
    differences = (np.asarray(b, dtype=float) - np.asarray(a, dtype=float)).tolist()
    low, high = mean_interval(differences, subjects, seed)
    sums, counts = _by_subject(differences, subjects)
    means = sums / counts
    p_value = np.asarray(stats.wilcoxon(means))[1] if np.any(means) else 1.0
    return Difference(float(np.mean(differences)), low, high, float(p_value))


def _by_subject(
    values: Sequence[float], subjects: Sequence[str] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and count of the values of each subject, subjects in order of first appearance."""
    if len(values) == 0:
        raise ValueError("no values: the mean of nothing has no interval")
    names = list(subjects) if subjects is not None else [str(i) for i in range(len(values))]
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    rows = [index[name] for name in names]
    sums, counts = np.zeros(len(index)), np.zeros(len(index))
    np.add.at(sums, rows, np.asarray(values, dtype=float))
    np.add.at(counts, rows, 1.0)
    return sums, counts
