"""Calibration of a model over a set of cases: of voxels, of whole cases and of volume intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ldseg.data.cases import Case, DataSet
from ldseg.evaluation.predictions import CasePrediction, iterate_predictions, structure_dice
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.posterior import case_confidence
from ldseg.inference.temperature_scaling import UNCALIBRATED, Calibration, scale_interval, with_temperature
from ldseg.metrics.calibration import MARGIN, Reliability, VoxelCalibrationAccumulator, boundary_region
from ldseg.metrics.risk_coverage import RiskPoint, area_under_risk, group_by_confidence, risk_coverage_curve


@dataclass(frozen=True)
class CaseCalibration:
    """Confidence and Dice of one case; a good confidence is low where the Dice is low."""

    case: str
    confidence: float
    """See `inference.posterior.case_confidence`."""
    dice: float
    """Mean over the structures; 1 for a structure that neither prediction nor truth has."""


@dataclass(frozen=True)
class CaseSelection:
    """Risk 1 - Dice over coverage, cases sorted by their confidence (see `metrics.risk_coverage`)."""

    aurc: float
    excess_aurc: float
    risk: tuple[RiskPoint, ...]


@dataclass(frozen=True)
class IntervalCoverage:
    """The volume intervals of one structure, which should hold 90 % of the true volumes."""

    cases: int
    covered: float
    """Share of true volumes inside."""
    width: float
    """Mean length of the intervals over the mean true volume; 0 where there is none."""


@dataclass(frozen=True)
class CalibrationReport:
    """The calibration of one model on one set of cases; `serialization.to_json` makes it JSON."""

    everywhere: Reliability | None
    """Calibration of all labelled voxels; None without any."""
    near: Reliability | None
    """Calibration of the labelled voxels near the structures; None without any."""
    margin_voxels: int
    """Largest distance of these voxels to a structure (see `calibration.boundary_region`)."""
    selection: CaseSelection
    cases: tuple[CaseCalibration, ...]
    """One for each case and rater."""
    intervals: dict[str, IntervalCoverage]
    """Per structure; empty where no case is labelled throughout."""


class CalibrationAccumulator:
    """Accumulates predictions one by one in memory that does not grow with their voxels."""

    def __init__(self, classes: int, margin: int = MARGIN) -> None:
        self._margin = margin
        self._everywhere = VoxelCalibrationAccumulator(classes)
        self._near = VoxelCalibrationAccumulator(classes)
        self._cases: list[CaseCalibration] = []
        self._intervals: dict[str, list[tuple[float, float, float]]] = {}  # low, high, truth

    def add(self, prediction: CasePrediction, calibration: Calibration = UNCALIBRATED) -> None:
        """Add one prediction after calibrating it."""
        probabilities = with_temperature(prediction.probabilities, calibration.temperature)
        predicted, labelled = probabilities.argmax(0), prediction.truth >= 0
        self._everywhere.add(probabilities[:, labelled], prediction.truth[labelled])
        chosen = labelled & boundary_region(prediction.truth, predicted, prediction.axes, self._margin)
        self._near.add(probabilities[:, chosen], prediction.truth[chosen])
        found = float(np.mean(structure_dice(prediction, predicted)))
        self._cases.append(CaseCalibration(prediction.case, case_confidence(probabilities), found))
        for name, volume in prediction.true_volumes.items():
            estimate = scale_interval(prediction.volumes[name], calibration.widening)
            self._intervals.setdefault(name, []).append((estimate.low, estimate.high, volume))

    def report(self) -> CalibrationReport:
        """Return the report. Raises ValueError when nothing was added."""
        counts, losses = group_by_confidence(
            [case.confidence for case in self._cases], [1 - case.dice for case in self._cases]
        )
        area = area_under_risk(counts, losses)
        by_dice = group_by_confidence(
            [case.dice for case in self._cases], [1 - case.dice for case in self._cases]
        )
        ideal = area_under_risk(*by_dice)
        return CalibrationReport(
            everywhere=self._everywhere.reliability(),
            near=self._near.reliability(),
            margin_voxels=self._margin,
            selection=CaseSelection(area, area - ideal, risk_coverage_curve(counts, losses)),
            cases=tuple(self._cases),
            intervals={name: _coverage(entries) for name, entries in self._intervals.items()},
        )


def evaluate_calibration(
    predictor: BasePredictor,
    dataset: DataSet,
    cases: Iterable[Case],
    samples: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    calibration: Calibration | None = None,
) -> CalibrationReport:
    """Predict labelled cases and return the calibration report.

    `calibration` None takes the model's own; UNCALIBRATED measures the model as it was trained.

    Raises:
        InputError: a case cannot be read, or does not fit the model.
        ValueError: no case has labels.
    """
    accumulator = CalibrationAccumulator(len(predictor.plan.classes))
    drawn = predictor.sampling(steps, samples).samples
    applied = (calibration or predictor.calibration).for_samples(drawn)
    for prediction in iterate_predictions(predictor, dataset, cases, samples, steps, seed):
        accumulator.add(prediction, applied)
    return accumulator.report()


def _coverage(entries: Sequence[tuple[float, float, float]]) -> IntervalCoverage:
    """Return the coverage of (low, high, true volume) of all cases."""
    low, high, volume = np.asarray(entries).T
    covered = float(np.mean((low <= volume) & (volume <= high)))
    mean = float(volume.mean())
    return IntervalCoverage(len(volume), covered, float((high - low).mean()) / mean if mean > 0 else 0.0)
