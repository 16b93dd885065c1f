"""Calibration of voxel probabilities, from counts whose memory does not grow with the cases.

N voxels with probabilities p (K, N) and true classes y (N,); voxels that nobody labelled are left out.
Confidence is the largest probability. Bins are M = 15 of equal width, (m/M, (m+1)/M].

ECE    sum_b n_b / N |accuracy_b - mean confidence_b|                           (Guo et al. 2017)
class-wise ECE  mean over classes of the same with p_k and [y = k] in the bins of p_k   (Kull et al. 2019)
Brier  mean of sum_k (p_k - [y = k])^2, 0 to 2                                  (Brier 1950)
NLL    mean of -log p_y, p_y at least 1e-7
AURC   loss 1 for a wrong voxel, 0 for a right one                              (see `risk_coverage`)

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
from ldseg.metrics.probabilities import FLOOR
from ldseg.metrics.risk_coverage import RiskPoint, area_under_risk, risk_coverage_curve

BINS = 15
MARGIN = 5
"""Margin of `boundary_region` in voxels."""
_LEVELS = np.linspace(-4, 17, 2049)[1:-1]  # of the confidence's log odds; even ones would all lie at 1
_BLOCK = 2**20  # voxels taken at once


@dataclass(frozen=True)
class ReliabilityBin:
    """A bin of a reliability diagram; empty bins are left out."""

    low: float
    high: float
    voxels: int
    confidence: float
    """Mean confidence."""
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """Calibration of a set of voxels; the module's docstring has the formulas."""

    voxels: int
    accuracy: float
    confidence: float
    """Mean confidence; above the accuracy, the model is overconfident."""
    ece: float
    classwise_ece: float
    brier: float
    nll: float
    aurc: float
    excess_aurc: float
    bins: tuple[ReliabilityBin, ...]
    risk: tuple[RiskPoint, ...]
    """Risk-coverage curve of the share of wrong voxels."""


class VoxelCalibrationAccumulator:
    """Accumulates counts of voxels case by case."""

    def __init__(self, classes: int) -> None:
        self._voxels = 0
        self._top = np.zeros((3, BINS))  # voxels, sum of confidences, right ones
        self._classwise = np.zeros((3, classes, BINS))  # voxels, sum of p_k, voxels of class k
        self._levels = np.zeros((2, len(_LEVELS) + 1))  # voxels, wrong ones; by log odds of the confidence
        self._brier = self._nll = 0.0

    def add(self, probabilities: NDArray[np.float32], truth: NDArray[np.integer]) -> None:
        """Add probabilities (K, N) and classes (N,), each 0..K-1."""
        for first in range(0, truth.size, _BLOCK):
            part = slice(first, first + _BLOCK)
            self._add(probabilities[:, part].astype(np.float64), truth[part].astype(np.int64))

    def reliability(self) -> Reliability | None:
        """Return the calibration, or None when no voxel was added."""
        if self._voxels == 0:
            return None
        voxels, confidences, right = self._top
        sizes, wrong = self._levels[:, ::-1]  # the surest first
        all_wrong = float(wrong.sum())
        best = area_under_risk([self._voxels - all_wrong, all_wrong], [0, all_wrong])  # all wrong ones last
        return Reliability(
            voxels=self._voxels,
            accuracy=float(right.sum() / self._voxels),
            confidence=float(confidences.sum() / self._voxels),
            ece=float(np.abs(right - confidences).sum() / self._voxels),
            classwise_ece=float(np.abs(self._classwise[2] - self._classwise[1]).sum(1).mean() / self._voxels),
            brier=self._brier / self._voxels,
            nll=self._nll / self._voxels,
            aurc=area_under_risk(sizes, wrong),
            excess_aurc=area_under_risk(sizes, wrong) - best,
            bins=tuple(
                ReliabilityBin(b / BINS, (b + 1) / BINS, int(n), float(c / n), float(r / n))
                for b, (n, c, r) in enumerate(zip(voxels, confidences, right, strict=True))
                if n > 0
            ),
            risk=risk_coverage_curve(sizes, wrong),
        )

    def _add(self, p: NDArray[np.float64], y: NDArray[np.int64]) -> None:
        """Add one block of probabilities p (K, N) and classes y (N,)."""
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
    """Return the voxels (*S) within `margin` voxels of a structure (id above 0) of either map.

    The margin is a box over the spatial axes, not over time. The region depends on the prediction, so that
    structures predicted elsewhere count too.
    """
    structures = (truth > 0) | (predicted > 0)
    reach = tuple(1 if axis == "t" else 2 * margin + 1 for axis in axes)
    return ndimage.maximum_filter(structures.astype(np.uint8), size=reach, mode="constant") > 0


def _bin(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index of the bin of each probability."""
    return np.clip(np.ceil(values * BINS).astype(np.int64) - 1, 0, BINS - 1)
