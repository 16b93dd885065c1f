"""Scores of a predicted distribution against the masks of several raters, and level sets as its rival.

A level-set distribution has n masks, those of the voxels in which a probability map exceeds (i + 1/2) / n.
Any model with a probability map has it for nothing: samples are worth their price only if they are closer to
the raters than the level sets of every model, their own mean included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from ldseg.inference.posterior import INTERVAL
from ldseg.metrics.ambiguity import ambiguity_metrics
from ldseg.metrics.dice import dice

Labels = NDArray[np.integer]
Scores = dict[str, float]
_BINS = 15


def level_sets(probabilities: NDArray[np.floating], ids: Sequence[int], number: int) -> list[Labels]:
    """Return the level sets of probabilities (K, *S) as maps of ids; the background is class 0.

    With several structures the foreground is thresholded, and the likeliest structure fills it.
    """
    foreground = 1 - probabilities[0]
    structure = np.asarray(ids)[1:][probabilities[1:].argmax(0)]
    return [np.where(foreground > (i + 0.5) / number, structure, ids[0]) for i in range(number)]


def distribution_scores(
    maps: Sequence[Labels], fused: Labels, raters: Sequence[Labels], ids: Sequence[int]
) -> Scores:
    """Return the ambiguity metrics of label maps (*S) against those of the raters, the mean Dice of the one
    segmentation `fused` with each rater, and the share of the raters' volumes between the 5 % and the 95 %
    quantile of the maps'."""
    structures = list(ids)[1:]
    covered: list[bool] = []
    for label in structures:
        low, high = np.quantile([np.count_nonzero(one == label) for one in maps], INTERVAL)
        covered += [bool(low <= np.count_nonzero(one == label) <= high) for one in raters]
    return {
        **asdict(ambiguity_metrics(maps, raters, fused, structures)),
        "rater_dice": rater_dice(fused, raters, ids),
        "covered": float(np.mean(covered)),
    }


def rater_dice(labels: Labels, raters: Sequence[Labels], ids: Sequence[int]) -> float:
    """Return the mean Dice over raters and structures of one segmentation."""
    return float(np.mean([dice(labels == label, one == label) for label in list(ids)[1:] for one in raters]))


def frequencies(raters: Sequence[Labels], ids: Sequence[int]) -> NDArray[np.float64]:
    """Return the share of the raters (K, *S) who give each of the ids to a voxel."""
    return np.stack([np.mean([one == label for one in raters], axis=0) for label in ids])


def frequency_scores(
    probabilities: NDArray[np.floating], raters: Sequence[Labels], ids: Sequence[int]
) -> Scores:
    """Return Brier score and calibration error of probabilities (K, *S) against the raters' frequencies."""
    frequency = frequencies(raters, ids)
    return {
        "brier": float(np.square(probabilities - frequency).sum(0).mean()),
        "soft_ece": _calibration_error(probabilities[1:].ravel(), frequency[1:].ravel()),
    }


def _calibration_error(stated: NDArray[np.floating], observed: NDArray[np.floating]) -> float:
    """Return the mean absolute difference of stated and observed frequency over bins, weighted by voxels."""
    bins = np.minimum((stated * _BINS).astype(int), _BINS - 1)
    voxels = np.bincount(bins, minlength=_BINS)
    gaps = np.bincount(bins, stated - observed, minlength=_BINS)
    return float(np.abs(gaps).sum() / voxels.sum())
