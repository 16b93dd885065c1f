"""Fit a temperature, an interval scale and what Dice to expect on validation cases.

They must not be fitted on the cases that are reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from ldseg.data.cases import Case, DataSet
from ldseg.data.splits import evenly_spaced
from ldseg.errors import InputError
from ldseg.evaluation.calibration_report import CalibrationAccumulator, CalibrationReport
from ldseg.evaluation.coherence_fit import fit_coherence
from ldseg.evaluation.predictions import CasePrediction, iterate_predictions, structure_dice
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.decision import Decision
from ldseg.inference.posterior import INTERVAL, VolumeEstimate
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import UNCALIBRATED, Calibration, store_calibration
from ldseg.metrics.probabilities import FLOOR
from ldseg.settings import SamplingSettings
from ldseg.training.pace import COHERENCE_CASES

OnCase = Callable[[float, str], None]
"""Gets the share of the work that is done, and the name of the case."""
TEMPERATURES = (0.1, 10.0)
_VOXELS = 2**14  # drawn per case


def ignore_case(share: float, case: str) -> None:
    """Do nothing."""
    del share, case


class NoStructureError(InputError):
    """No case has a structure to fit the calibration on."""


def fit_calibration(predictions: Iterable[CasePrediction], seed: int = 0) -> Calibration:
    """Return the temperature, interval scale, decision and Dice loss factor fitted to uncalibrated
    predictions, whose labels are decided by expected Dice.

    The temperature is fitted on at most 16384 labelled voxels a case, drawn from all of them: fitted near the
    structures alone it calibrates boundaries and makes the rest, most of an image, underconfident.

    Raises:
        NoStructureError: no case has a structure, labelled or predicted.
    """
    rng = np.random.default_rng(seed)
    probabilities: list[NDArray[np.float32]] = []
    truths: list[NDArray[np.integer]] = []
    estimates: list[VolumeEstimate] = []
    volumes: list[float] = []
    gains: dict[str, list[float]] = {}
    found_losses: list[float] = []
    expected_losses: list[float] = []
    structures = False
    for prediction in predictions:
        somewhere = (prediction.truth > 0) | (prediction.probabilities.argmax(0) > 0)
        structures |= bool((somewhere & (prediction.truth >= 0)).any())
        p, y = draw_voxels(prediction, rng)
        probabilities.append(p)
        truths.append(y)
        decided = structure_dice(prediction, prediction.labels)
        plain = structure_dice(prediction, prediction.probabilities.argmax(0))
        gains.setdefault(prediction.case, []).append(float(np.mean(decided - plain)))
        if prediction.expected_dice:
            found_losses.extend(1 - decided)
            expected_losses.extend(1 - expected for expected in prediction.expected_dice.values())
        for name, volume in prediction.true_volumes.items():
            estimates.append(prediction.volumes[name])
            volumes.append(volume)
    if not structures:
        raise NoStructureError("no case has a structure, labelled or predicted; give other cases")
    temperature = fit_temperature(np.concatenate(probabilities, axis=1), np.concatenate(truths))
    # raters of a case judge one prediction
    decision = choose_decision([float(np.mean(of_case)) for of_case in gains.values()])
    return Calibration(
        temperature,
        fit_interval_scale(estimates, volumes),
        decision,
        dice_loss_factor=fit_dice_loss_factor(found_losses, expected_losses),
    )


def calibrate(
    folder: Path,
    predictor: Predictor,
    dataset: DataSet,
    cases: Sequence[Case],
    samples: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_case: OnCase = ignore_case,
) -> tuple[Calibration, CalibrationReport]:
    """Calibrate the model of `folder`, loaded as `predictor`, on labelled cases that it did not train on.

    Stores the calibration in the folder, which later predictions use, and returns it with a report on the
    same cases before calibration. The interval scale holds for predictions of as many samples as drawn here.

    Raises:
        InputError: a case cannot be read or does not fit the model.
        NoStructureError: no case has a structure.
    """
    found, report = fit_on_cases(predictor, dataset, cases, samples, steps, seed, on_case)
    store_calibration(folder, found)
    return found, report


def fit_on_cases(
    predictor: BasePredictor,
    dataset: DataSet,
    cases: Sequence[Case],
    samples: int | None,
    steps: int | None,
    seed: int,
    on_case: OnCase,
) -> tuple[Calibration, CalibrationReport]:
    """Return the calibration of a model or an ensemble, see `calibrate`, and a report on the cases before.

    Raises:
        InputError: a case cannot be read or does not fit the model.
        NoStructureError: no case has a structure.
    """
    accumulator = CalibrationAccumulator(len(predictor.plan.classes))
    if isinstance(predictor, Predictor):  # an ensemble's members have theirs
        some = evenly_spaced(cases, COHERENCE_CASES)
        predictor = make_coherent(predictor, dataset, some, samples, steps, seed)
    deciding = predictor.deciding_by("expected-dice")

    def counted() -> Iterator[CasePrediction]:
        for number, prediction in enumerate(
            iterate_predictions(deciding, dataset, cases, samples, steps, seed), start=1
        ):
            accumulator.add(prediction)
            on_case(min(1.0, number / len(cases)), prediction.case)
            yield prediction

    try:
        found = fit_calibration(counted(), seed)
    except NoStructureError as error:
        raise NoStructureError(f"{dataset.root}: {error}") from None
    found = replace(found, coherence=predictor.calibration.coherence, cases=len(cases))
    if predictor.sampling(steps, samples).samples > 1:
        single = predictor.deciding_by("argmax").sampling(samples=1)  # in the model's own number of steps
        temperature = drawn_temperature(predictor, dataset, cases, single, seed)
        found = replace(found, single_temperature=temperature)
    return found, accumulator.report()


def make_coherent(
    predictor: Predictor,
    dataset: DataSet,
    cases: Sequence[Case],
    samples: int | None,
    steps: int | None,
    seed: int,
) -> Predictor:
    """Return the model without any calibration but coherent samples, see `evaluation.coherence_fit`.

    Raises:
        InputError: a case cannot be read or does not fit the model.
    """
    plain = predictor.with_changes(calibration=UNCALIBRATED)
    sampling = plain.sampling(steps, samples)
    if sampling.samples < 2:
        return plain
    temperature = drawn_temperature(plain, dataset, cases, sampling, seed)
    found = fit_coherence(plain, dataset, cases, sampling, temperature, seed)
    return plain.with_changes(calibration=Calibration(coherence=found))


def drawn_temperature(
    predictor: BasePredictor, dataset: DataSet, cases: Sequence[Case], sampling: SamplingSettings, seed: int
) -> float:
    """Return the temperature fitted on voxels drawn from the uncalibrated predictions of `cases`."""
    rng = np.random.default_rng(seed)
    predictions = iterate_predictions(predictor, dataset, cases, sampling.samples, sampling.steps, seed)
    drawn = [draw_voxels(prediction, rng) for prediction in predictions]
    probabilities, truths = zip(*drawn, strict=True)
    return fit_temperature(np.concatenate(probabilities, axis=1), np.concatenate(truths))


def fit_temperature(probabilities: NDArray[np.float32], truth: NDArray[np.integer]) -> float:
    """Return the T in 0.1 to 10 with the least negative log-likelihood of `truth` (N,) under p (K, N).

    NLL is convex in 1/T, so that a search along one line finds it (Guo et al. 2017, section 4.2).
    """
    logarithms = np.log(np.maximum(probabilities.astype(np.float64), FLOOR))
    own = np.take_along_axis(logarithms, truth[None].astype(np.int64), 0)[0]

    def loss(log_temperature: float) -> float:
        sharpness = math.exp(-log_temperature)
        return float(np.mean(logsumexp(logarithms * sharpness, axis=0) - own * sharpness))

    low, high = (math.log(bound) for bound in TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return math.exp(float(found.x))


def choose_decision(gains: Sequence[float]) -> Decision:
    """Return "expected-dice" where the mean of its gains in Dice over the argmax, one per case, is greater
    than their standard error, else "argmax"."""
    if len(gains) < 2:
        return "argmax"
    error = float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    return "expected-dice" if float(np.mean(gains)) > error else "argmax"


def fit_dice_loss_factor(found: Sequence[float], expected: Sequence[float]) -> float:
    """Return the sum of the Dice losses `found` over the sum of those that samples expected; 1 where they
    expected none."""
    return sum(found) / sum(expected) if sum(expected) > 0 else 1.0


def fit_interval_scale(estimates: Sequence[VolumeEstimate], volumes: Sequence[float]) -> float:
    """Return the least w with which [low - w mean, high + w mean] holds 90 % of the true `volumes`.

    Conformalized quantile regression (Romano et al. 2019, eq. 6 and 7) with the miss relative to the mean
    volume. It guarantees the coverage for exchangeable new cases; with fewer than 9 volumes the largest miss
    is taken, and the coverage is lower. Structures with a predicted mean volume of 0 are left out, since no
    multiple of 0 reaches the truth. Returns 0 where nothing is left.
    """
    misses = sorted(
        max(estimate.low - volume, volume - estimate.high) / estimate.mean
        for estimate, volume in zip(estimates, volumes, strict=True)
        if estimate.mean > 0
    )
    if not misses:
        return 0.0
    level = INTERVAL[1] - INTERVAL[0]
    rank = math.ceil((len(misses) + 1) * level - 1e-9)
    return misses[min(rank, len(misses)) - 1]


def draw_voxels(
    prediction: CasePrediction, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """Return probabilities (K, N) and truth (N,) of randomly drawn labelled voxels."""
    places = np.flatnonzero(prediction.truth >= 0)
    if len(places) > _VOXELS:
        places = rng.choice(places, _VOXELS, replace=False)
    probabilities = prediction.probabilities.reshape(len(prediction.probabilities), -1)
    return probabilities[:, places], prediction.truth.ravel()[places]
