"""Collect everything that a report shows from a run's folder, its data and its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ldseg.app.report.case_figure import CaseFigure, draw_case_figure
from ldseg.app.report.measurements import Measurements, measure_cases
from ldseg.app.report.rater_comparison import RaterAccumulator, RaterComparison
from ldseg.app.report.report_data import EvaluationCases, Seen, named_cases, open_run_data, select_cases
from ldseg.app.report.sampling_trajectory import STEPS, SamplingTrajectory, record_trajectory
from ldseg.data.cases import Case, DataSet
from ldseg.data.splits import read_splits
from ldseg.errors import file_error
from ldseg.evaluation.robustness import Robustness, count_trained
from ldseg.evaluation.robustness_files import JSON_FILE, read_robustness
from ldseg.evaluation.scores import Scores, read_scores
from ldseg.inference.backends.torch_backend import TorchBackend
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.ensemble import Ensemble, members_of
from ldseg.inference.ensemble_files import load_models, member_folders
from ldseg.inference.predictor import Predictor
from ldseg.planning.fingerprint import Fingerprint, read_fingerprint
from ldseg.planning.plan import Plan
from ldseg.runs.files import FINGERPRINT_FILE, SPLITS_FILE
from ldseg.settings import RunSettings, SamplingSettings
from ldseg.training.log_files import read_records
from ldseg.training.pace import CALIBRATION_CASES

ROBUSTNESS_FOLDER = "robustness"
"""Folder of the robustness sweep within a run."""


@dataclass(frozen=True)
class ReportOptions:
    """Options of a report; None takes the run's own."""

    data: Path | None = None
    """Images and masks, where not those of the training."""
    part: Literal["test", "validation"] | None = None
    """Part of the split; None is the test part, else the validation fold."""
    cases: tuple[str, ...] = ()
    """Cases to show; if empty, the best, the median and the worst."""
    scores: Path | None = None
    """A scores.json to show instead of scores of the predictions made here."""
    robustness: Path | None = None
    """The folder of a sweep, or its robustness.json."""
    limit: int | None = None
    """Cases to measure, at most."""
    samples: int | None = None
    steps: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class ReportData:
    """The content of a report."""

    name: str
    """Name of the run."""
    weights: str
    """SHA-256 of the weights."""
    parameters: int
    plan: Plan
    settings: RunSettings
    fingerprint: Fingerprint | None
    records: Sequence[dict[str, Any]]
    """Records of the training log; empty without a log."""
    evaluation: EvaluationCases
    measurements: Measurements
    scores: Scores
    """Scores of `measurements`, or of a file."""
    scores_file: str
    """Name of that file; empty for the scores of `measurements`."""
    case_figures: dict[str, CaseFigure]
    """Case figures by title, e.g. "median"."""
    trajectory: SamplingTrajectory | None
    trajectory_case: str
    """Name of the case that the trajectory is of."""
    raters: RaterComparison | None
    """Samples beside raters; None where no case has several."""
    robustness: Robustness | None
    recalibrated: bool
    calibrated_on: int | None
    """Number of cases that the calibration was fitted on, or, where it does not say so, that a training would
    take; None without splits."""
    stochastic: bool
    """True if two samples of one image can differ."""


OnCase = Callable[[float, str], None]
OnSampling = Callable[[BasePredictor, SamplingSettings], None]


def collect(
    run: Path,
    options: ReportOptions,
    device: str | None = None,
    on_case: OnCase = lambda _share, _case: None,
    on_sampling: OnSampling = lambda _predictor, _sampling: None,
) -> ReportData:
    """Return the content of the report of `run`; `on_case` receives the share of the cases that is done, and
    `on_sampling` the model and how its samples are drawn, before that.

    Raises:
        InputError: the run, the data or another file cannot be used, or does not fit the others.
    """
    predictor = load_models(run, device)
    weights = predictor.identity.sha256
    robustness = _find_robustness(run, options.robustness, weights)
    scored = None if options.scores is None else read_scores(options.scores)
    samples = predictor.settings.posterior.samples if options.samples is None else options.samples
    sampling = predictor.sampling(options.steps, samples)
    on_sampling(predictor, sampling)
    dataset = open_run_data(run, options.data, predictor.plan)
    shown = named_cases(dataset, options.cases)
    names = None if scored is None else tuple(scored.cases)
    evaluation = select_cases(run, dataset, predictor.settings, options.part, names, options.limit)
    if isinstance(predictor, Ensemble) and evaluation.part == "validation":
        finding = "some members were trained on the validation cases of others, and there is no test part"
        raise file_error(run, finding, "give other images and masks with --data, or see `ldseg evaluate RUN`")
    raters = RaterAccumulator(evaluation.cases, predictor.plan.classes, dataset.ignore_id)
    measurements = measure_cases(
        predictor, dataset, evaluation.cases, sampling, options.seed, on_case, raters
    )
    scores = scored or measurements.scores
    cases = {case.name: case for case in (shown or evaluation.cases)}
    titles = {name: name for name in cases} if shown else extremes(scores, list(cases))
    titled = {title: cases[name] for title, name in titles.items()}
    case_figures = _draw_case_figures(predictor, dataset, titled, sampling, options.seed)
    fingerprint = run / FINGERPRINT_FILE
    median = case_figures.get("median", next(iter(case_figures.values())))
    return ReportData(
        name=run.resolve().name,
        weights=weights,
        parameters=sum(_parameters(member) for member in members_of(predictor)),
        plan=predictor.plan,
        settings=predictor.settings,
        fingerprint=read_fingerprint(fingerprint) if fingerprint.is_file() else None,
        records=read_records(run),
        evaluation=replace(evaluation, seen=_seen(run, predictor, evaluation)),
        measurements=measurements,
        scores=scores,
        scores_file="" if options.scores is None else options.scores.name,
        case_figures=case_figures,
        trajectory=_record_trajectory(predictor, median, sampling, options.seed),
        trajectory_case=median.case,
        raters=raters.result(),
        robustness=robustness,
        recalibrated=predictor.calibration != predictor.uncalibrated().calibration,
        calibrated_on=_calibrated_on(run, predictor),
        stochastic=predictor.stochastic,
    )


def _calibrated_on(run: Path, predictor: BasePredictor) -> int | None:
    """Return the number of cases that the calibration was fitted on, see `ReportData.calibrated_on`."""
    splits, cases = run / SPLITS_FILE, predictor.calibration.cases
    if cases is not None or not splits.is_file():
        return cases
    part = read_splits(splits).part(predictor.settings.training.fold)
    return min(len(part.unseen), CALIBRATION_CASES)


def _seen(run: Path, predictor: BasePredictor, evaluation: EvaluationCases) -> Seen:
    """Return whether cases trained the model; of an ensemble its members' splits say so."""
    members = member_folders(run)
    if members == [run]:
        return evaluation.seen
    if count_trained(run, predictor, [case.name for case in evaluation.cases]):
        return "some"
    return "none" if all((member / SPLITS_FILE).is_file() for member in members) else "unknown"


def _parameters(predictor: Predictor) -> int:
    """Return the number of a model's weights; 0 of a graph."""
    backend = predictor.backend
    weights = backend.segmenter.parameters() if isinstance(backend, TorchBackend) else ()
    return sum(one.numel() for one in weights)


def extremes(scores: Scores, names: Sequence[str]) -> dict[str, str]:
    """Return the best, median and worst case by mean Dice among `names`, by title; fewer for fewer names."""
    dice = dict(zip(scores.cases, scores.case_dice(), strict=True))
    order = sorted((name for name in names if name in dice), key=lambda name: (-dice[name], name))
    if len(order) < 3:
        return dict(zip(("best", "worst") if len(order) == 2 else ("only case",), order, strict=True))
    return {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}


def _draw_case_figures(
    predictor: BasePredictor, dataset: DataSet, cases: dict[str, Case], sampling: SamplingSettings, seed: int
) -> dict[str, CaseFigure]:
    """Return the figures of cases by their titles."""
    return {
        title: draw_case_figure(predictor, dataset, case, sampling, seed, f"case-{number}")
        for number, (title, case) in enumerate(cases.items())
    }


def _record_trajectory(
    predictor: BasePredictor, case_figure: CaseFigure, sampling: SamplingSettings, seed: int
) -> SamplingTrajectory | None:
    slow = SamplingSettings(sampling.sampler, STEPS, 1)
    return record_trajectory(
        predictor, case_figure.image, case_figure.prediction.labels, case_figure.case, slow, seed
    )


def _find_robustness(run: Path, given: Path | None, weights: str) -> Robustness | None:
    """Return the given sweep or the run's own. Raises InputError if it is of other weights."""
    place = given or run / ROBUSTNESS_FOLDER
    path = place if place.suffix == ".json" else place / JSON_FILE
    if given is None and not path.is_file():
        return None
    if not path.is_file():
        raise file_error(path, "there is no such file", "give the folder that ldseg robustness wrote")
    found = read_robustness(path)
    if found.setup.weights != weights:
        raise file_error(path, f"was measured on other weights than {run} has now", "measure it again")
    return found
