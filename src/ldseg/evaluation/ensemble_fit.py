"""Fit the weights and the calibration of an ensemble on cases that none of its members was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ldseg.data.cases import Case, DataSet
from ldseg.evaluation.calibration_fit import OnCase, draw_voxels, fit_on_cases, ignore_case
from ldseg.evaluation.calibration_report import CalibrationReport
from ldseg.evaluation.predictions import iterate_predictions
from ldseg.inference.ensemble import Ensemble
from ldseg.metrics.probabilities import FLOOR

_ITERATIONS = 200
_LEAST_WEIGHT = 0.02
"""A member that weighs less is not worth its time and gets this weight."""


def fit_ensemble(
    ensemble: Ensemble,
    dataset: DataSet,
    cases: Sequence[Case],
    samples: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_case: OnCase = ignore_case,
) -> tuple[Ensemble, CalibrationReport]:
    """Return the ensemble with fitted weights and calibration, and a report on the same cases before that.

    The weights are those with the highest likelihood of the true classes under the mixture of the members'
    uncalibrated probabilities.

    Raises:
        InputError: a case cannot be read or does not fit the members.
        NoStructureError: no case has a structure.
    """
    likelihoods: list[NDArray[np.float64]] = []
    sampling = ensemble.sampling(steps, samples)
    share = max(1, round(sampling.samples / len(ensemble.members)))
    for number, member in enumerate(ensemble.members):
        rng = np.random.default_rng(seed)  # the same voxels for each member
        found: list[NDArray[np.float32]] = []
        for prediction in iterate_predictions(member, dataset, cases, share, sampling.steps, seed):
            probabilities, truth = draw_voxels(prediction, rng)
            found.append(np.take_along_axis(probabilities, truth[None].astype(np.int64), 0)[0])
        likelihoods.append(np.concatenate(found).astype(np.float64))
        on_case((number + 1) / (2 * len(ensemble.members)), member.identity.name)
    weights = np.maximum(fit_weights(np.stack(likelihoods)), _LEAST_WEIGHT)
    members = [one.uncalibrated() for one in ensemble.members]
    weighted = Ensemble(members, weights.tolist(), name=ensemble.name)

    def on_second_half(share: float, case: str) -> None:
        on_case(0.5 + share / 2, case)

    drawn, steps = sampling.samples, sampling.steps
    fitted, report = fit_on_cases(weighted, dataset, cases, drawn, steps, seed, on_second_half)
    return Ensemble(members, weights.tolist(), fitted, ensemble.name), report


def fit_weights(likelihoods: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights (M,) of a mixture with the highest likelihood, which sum to one.

    `likelihoods` (M, N) are what each member gives to the true class of each voxel. Expectation maximization
    (Dempster et al. 1977).
    """
    weights = np.full(len(likelihoods), 1 / len(likelihoods))
    bounded = np.maximum(likelihoods, FLOOR)
    for _ in range(_ITERATIONS):
        shares = weights[:, None] * bounded
        weights = (shares / shares.sum(0)).mean(1)
    return weights
