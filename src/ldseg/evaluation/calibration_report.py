"""How far a model's confidence can be trusted, over a set of cases: voxels, cases and volumes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ldseg.data.cases import Case, DataSet
from ldseg.evaluation.predictions import CasePrediction, iterate_predictions
from ldseg.inference.posterior import case_confidence
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import UNCALIBRATED, Calibration, scale_interval, with_temperature
from ldseg.metrics.calibration import MARGIN, Reliability, VoxelCalibrationAccumulator, boundary_region
from ldseg.metrics.dice import dice
from ldseg.metrics.risk_coverage import RiskPoint, area_under_risk, group_by_confidence, risk_coverage_curve


@dataclass(frozen=True)
class CaseCalibration:
    """One case: is a low Dice announced by a low confidence?"""

    case: str
    confidence: float
    """See `inference.posterior.case_confidence`."""
    dice: float
    """Mean over the structures; 1 for one that neither answer nor truth has."""


@dataclass(frozen=True)
class CaseSelection:
    """Risk 1 - Dice over coverage, cases sorted by their confidence (see `selective`)."""

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
    """All figures of one model on one set of cases; JSON by `records.to_json`."""

    everywhere: Reliability | None
    """Over all labelled voxels; None without any."""
    near: Reliability | None
    """Over those near the structures; None without any."""
    margin_voxels: int
    """How near (see `calibration.boundary_region`)."""
    selection: CaseSelection
    cases: tuple[CaseCalibration, ...]
    """One for each case and rater."""
    intervals: dict[str, IntervalCoverage]
    """Per structure; empty where no case is labelled throughout."""


class CalibrationAccumulator:
    """Answers added one by one; what is kept does not grow with their voxels."""

    def __init__(self, classes: int, margin: int = MARGIN) -> None:
        self._margin = margin
        self._everywhere, self._near = (
            VoxelCalibrationAccumulator(classes),
            VoxelCalibrationAccumulator(classes),
        )
        self._cases: list[CaseCalibration] = []
        self._intervals: dict[str, list[tuple[float, float, float]]] = {}  # low, high, truth

    def add(self, answer: CasePrediction, calibration: Calibration = UNCALIBRATED) -> None:
        """Take in one answer, calibrated first."""
        probabilities = with_temperature(answer.probabilities, calibration.temperature)
        predicted, labelled = probabilities.argmax(0), answer.truth >= 0
        self._everywhere.add(probabilities[:, labelled], answer.truth[labelled])
        chosen = labelled & boundary_region(answer.truth, predicted, answer.axes, self._margin)
        self._near.add(probabilities[:, chosen], answer.truth[chosen])
        structures = range(1, len(probabilities))
        structure_dice = [dice(predicted[labelled] == k, answer.truth[labelled] == k) for k in structures]
        confidence = case_confidence(probabilities)
        self._cases.append(CaseCalibration(answer.case, confidence, float(np.mean(structure_dice))))
        for name, volume in answer.true_volumes.items():
            estimate = scale_interval(answer.volumes[name], calibration.widening)
            self._intervals.setdefault(name, []).append((estimate.low, estimate.high, volume))

    def report(self) -> CalibrationReport:
        """The figures. Raises ValueError when nothing was added."""
        counts, losses = group_by_confidence(
            [case.confidence for case in self._cases], [1 - case.dice for case in self._cases]
        )
        area, ideal = area_under_risk(counts, losses), self._ideal_area()
        return CalibrationReport(
            everywhere=self._everywhere.reliability(),
            near=self._near.reliability(),
            margin_voxels=self._margin,
            selection=CaseSelection(area, area - ideal, risk_coverage_curve(counts, losses)),
            cases=tuple(self._cases),
            intervals={name: _coverage(entries) for name, entries in self._intervals.items()},
        )

    def _ideal_area(self) -> float:
        """AURC when the cases are sorted by their Dice itself."""
        dice = [case.dice for case in self._cases]
        return area_under_risk(*group_by_confidence(dice, [1 - one for one in dice]))


def evaluate_calibration(
    predictor: Predictor,
    dataset: DataSet,
    cases: Iterable[Case],
    samples: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    calibration: Calibration | None = None,
) -> CalibrationReport:
    """Predict labelled cases and measure how far the answers' confidence can be trusted.

    `calibration` None takes the model's own; UNCALIBRATED measures the model as it was trained.

    Raises:
        InputError: a case cannot be read, or does not fit the model.
        ValueError: no case has labels.
    """
    tally = CalibrationAccumulator(len(predictor.plan.classes))
    for answer in iterate_predictions(predictor, dataset, cases, samples, steps, seed):
        tally.add(answer, calibration or predictor.calibration)
    return tally.report()


def _coverage(entries: Sequence[tuple[float, float, float]]) -> IntervalCoverage:
    low, high, volume = np.asarray(entries).T
    covered = float(np.mean((low <= volume) & (volume <= high)))
    mean = float(volume.mean())
    return IntervalCoverage(len(volume), covered, float((high - low).mean()) / mean if mean > 0 else 0.0)
