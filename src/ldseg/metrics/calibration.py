"""Are probabilities what they say? Calibration of voxels, from counts that do not grow with the cases.

N voxels with probabilities p (K, N) and true classes y (N,); voxels that nobody labelled are left out.
Confidence is the largest probability. Bins are M = 15 of equal width, (m/M, (m+1)/M].

ECE    sum_b n_b / N |accuracy_b - mean confidence_b|                           (Guo et al. 2017)
class-wise ECE  mean over classes of the same with p_k and [y = k] in the bins of p_k   (Kull et al. 2019)
Brier  mean of sum_k (p_k - [y = k])^2, 0 to 2                                  (Brier 1950)
NLL    mean of -log p_y, p_y at least 1e-7
AURC   loss 1 for a wrong voxel, 0 for a right one                              (see `selective`)

Most voxels of a medical image are easy background, and any model looks calibrated on them: ECE over all
voxels mainly counts how many these are. `boundary_region` selects the voxels near structures; report both
figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import logit

from ldseg.data.volume import Axes
from ldseg.metrics.risk_coverage import RiskPoint, area_under_risk, risk_coverage_curve

FLOOR = 1e-7
"""Least probability of which a logarithm is taken: the resolution of float32 next to 1."""
BINS = 15
MARGIN = 5
"""Voxels along each axis that `boundary_region` goes beyond the structures."""
_LEVELS = np.linspace(-4, 17, 2049)[1:-1]  # of the confidence's log odds; even ones would all lie at 1
_BLOCK = 2**20  # voxels taken at once


@dataclass(frozen=True)
class ReliabilityBin:
    """One bar of a reliability diagram; empty bins are left out."""

    low: float
    high: float
    voxels: int
    confidence: float
    """Mean confidence."""
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """Calibration of a set of voxels; formulas at the top of this file."""

    voxels: int
    accuracy: float
    confidence: float
    """Mean confidence; above the accuracy, the model is too sure of itself."""
    ece: float
    classwise_ece: float
    brier: float
    nll: float
    aurc: float
    excess_aurc: float
    bins: tuple[ReliabilityBin, ...]
    risk: tuple[RiskPoint, ...]
    """Share of wrong voxels over coverage."""


class VoxelCalibrationAccumulator:
    """Counts of voxels, added case by case."""

    def __init__(self, classes: int) -> None:
        self._voxels = 0
        self._top = np.zeros((3, BINS))  # voxels, sum of confidences, right ones
        self._classwise = np.zeros((3, classes, BINS))  # voxels, sum of p_k, voxels of class k
        self._levels = np.zeros((2, len(_LEVELS) + 1))  # voxels, wrong ones; by log odds of the confidence
        self._brier = self._nll = 0.0

    def add(self, probabilities: NDArray[np.float32], truth: NDArray[np.integer]) -> None:
        """Take in probabilities (K, N) and classes (N,), every one of them 0..K-1."""
        for first in range(0, truth.size, _BLOCK):
            part = slice(first, first + _BLOCK)
            self._add(probabilities[:, part].astype(np.float64), truth[part].astype(np.int64))

    def reliability(self) -> Reliability | None:
        """The figures; None when no voxel was added."""
        if self._voxels == 0:
            return None
        voxels, confidences, right = self._top
        sizes, wrong = self._levels[:, ::-1]  # the surest first
        return Reliability(
            voxels=self._voxels,
            accuracy=float(right.sum() / self._voxels),
            confidence=float(confidences.sum() / self._voxels),
            ece=float(np.abs(right - confidences).sum() / self._voxels),
            classwise_ece=float(np.abs(self._classwise[2] - self._classwise[1]).sum(1).mean() / self._voxels),
            brier=self._brier / self._voxels,
            nll=self._nll / self._voxels,
            aurc=area_under_risk(sizes, wrong),
            excess_aurc=area_under_risk(sizes, wrong) - _best_area(self._voxels, float(wrong.sum())),
            bins=tuple(
                ReliabilityBin(b / BINS, (b + 1) / BINS, int(n), float(c / n), float(r / n))
                for b, (n, c, r) in enumerate(zip(voxels, confidences, right, strict=True))
                if n > 0
            ),
            risk=risk_coverage_curve(sizes, wrong),
        )

    def _add(self, p: NDArray[np.float64], y: NDArray[np.int64]) -> None:
        """One block: p (K, N), y (N,)."""
        confidence, right = p.max(0), p.argmax(0) == y
        bins = _bin(confidence)
        self._voxels += len(y)
        self._top += [np.bincount(bins, weights, BINS) for weights in (np.ones(len(y)), confidence, right)]
        levels = np.searchsorted(_LEVELS, logit(np.clip(confidence, FLOOR, 1 - FLOOR)))
        size = self._levels.shape[1]
        self._levels += [np.bincount(levels, weights, size) for weights in (np.ones(len(y)), ~right)]
        for k, one in enumerate(p):
            true, bins = y == k, _bin(one)
            for row, weights in enumerate((np.ones(len(y)), one, true)):
                self._classwise[row, k] += np.bincount(bins, weights, BINS)
            self._brier += float(np.square(one - true).sum())
        self._nll -= float(np.log(np.maximum(np.take_along_axis(p, y[None], 0), FLOOR)).sum())


def boundary_region(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], axes: Axes, margin: int = MARGIN
) -> NDArray[np.bool_]:
    """Voxels (*S) within `margin` voxels of the union of both maps' structures (ids above 0).

    A box along each spatial axis, none along time. It depends on the prediction: whoever predicts structures
    far off is measured there too.
    """
    structures = (truth > 0) | (predicted > 0)
    reach = tuple(1 if axis == "t" else 2 * margin + 1 for axis in axes)
    return ndimage.maximum_filter(structures.astype(np.uint8), size=reach, mode="constant") > 0


def _bin(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(np.ceil(values * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _best_area(voxels: int, wrong: float) -> float:
    """AURC when all wrong voxels are the least sure ones."""
    return area_under_risk([voxels - wrong, wrong], [0, wrong])
