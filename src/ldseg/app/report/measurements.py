"""Measure scores, calibration and volumes in one pass over the cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ldseg.app.report.rater_comparison import RaterAccumulator
from ldseg.app.report.report_data import TOLERANCE
from ldseg.data.cases import Case, DataSet
from ldseg.data.loading import load_case
from ldseg.data.units import OneUnit, size_unit
from ldseg.data.volume import merge_notes
from ldseg.evaluation.calibration_report import CalibrationAccumulator, CalibrationReport
from ldseg.evaluation.case_metrics import ClassScores, evaluate_case, evaluate_cine, mean_over_raters
from ldseg.evaluation.predictions import iterate_predictions
from ldseg.evaluation.scores import Scores
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.posterior import VolumeEstimate
from ldseg.inference.temperature_scaling import scale_interval
from ldseg.metrics.cine import CineMetrics
from ldseg.preprocessing.preprocess import labels_to_ids
from ldseg.settings import SamplingSettings

OnCase = Callable[[float, str], None]


@dataclass(frozen=True)
class VolumePoint:
    """Predicted and reference volume of one structure in one case (and rater)."""

    case: str
    estimate: VolumeEstimate
    reference: float
    """Reference volume in the unit of the estimate."""


@dataclass(frozen=True)
class Measurements:
    """Results of a model on a set of cases."""

    scores: Scores
    calibration: CalibrationReport
    volumes: dict[str, tuple[VolumePoint, ...]]
    """Volumes per structure in `volume_unit`; cases with unlabeled voxels are left out."""
    volume_unit: str
    """Unit of the volumes (see `data.units.size_unit`)."""
    sampling: SamplingSettings
    seed: int
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Notes by case on what was assumed or changed when its files were read."""


def measure_cases(
    predictor: BasePredictor,
    dataset: DataSet,
    cases: Sequence[Case],
    sampling: SamplingSettings,
    seed: int,
    on_case: OnCase,
    raters: RaterAccumulator | None = None,
) -> Measurements:
    """Predict and measure `cases`, one in memory at a time; `on_case` receives the share that is done,
    `raters` the samples of the cases that it compares.

    Raises:
        InputError: a case cannot be read, or does not fit the model.
    """
    accumulator = CalibrationAccumulator(len(predictor.plan.classes))
    calibration = predictor.calibration.for_samples(sampling.samples)
    scores: dict[str, dict[str, ClassScores]] = {}
    cycles: dict[str, dict[str, CineMetrics]] = {}
    volumes: dict[str, list[VolumePoint]] = {}
    notes: dict[str, tuple[str, ...]] = {}
    units, physical = OneUnit(), True
    for number, case in enumerate(cases):
        image, masks = load_case(dataset, case)
        if said := merge_notes(image, *masks):
            notes[case.name] = said
        units.add(str(case.images[0]), image.physical)
        physical = image.physical
        by_rater: list[dict[str, ClassScores]] = []
        rated = raters is not None and case.name in raters.names
        found = iterate_predictions(predictor, dataset, [case], sampling.samples, sampling.steps, seed, rated)
        for prediction, mask in zip(found, masks, strict=True):
            accumulator.add(prediction, calibration)
            labels = image.with_array(labels_to_ids(prediction.labels[None], predictor.plan), "labels")
            by_rater.append(evaluate_case(labels, mask, predictor.plan.classes, dataset.ignore_id, TOLERANCE))
            if raters is not None and rated and len(by_rater) == len(masks):
                raters.add(case.name, image, masks, labels, prediction.samples)
            if dataset.axes == "tyx" and case.name not in cycles:  # the first rater's
                classes = predictor.plan.classes
                cycles[case.name] = evaluate_cine(labels, mask, classes, dataset.ignore_id)
            for name, reference in prediction.true_volumes.items():
                estimate = scale_interval(prediction.volumes[name], calibration.widening)
                volumes.setdefault(name, []).append(VolumePoint(case.name, estimate, reference))
        scores[case.name] = mean_over_raters(by_rater)
        on_case((number + 1) / len(cases), case.name)
    subjects = {case.name: case.subject for case in cases}
    return Measurements(
        Scores(scores, predictor.plan.classes, TOLERANCE, subjects, cine=cycles),
        accumulator.report(),
        {name: tuple(points) for name, points in volumes.items()},
        size_unit(dataset.axes, physical),
        sampling,
        seed,
        notes,
    )
