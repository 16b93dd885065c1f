"""Robustness: the Dice of a trained model on images of decreasing quality.

Every case is corrupted at each strength of each corruption (`corruptions`), segmented and scored on its own
grid; the clean images are the first strength of all of them and are segmented once. What is measured is kept
strength by strength, so that an interrupted sweep goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ldseg.data.cases import Case, DataSet
from ldseg.data.file_names import name_key
from ldseg.data.loading import load_case, load_image
from ldseg.data.splits import match_spelling, read_splits
from ldseg.data.units import LengthUnit, length_unit
from ldseg.data.volume import Volume, merge_notes
from ldseg.errors import InputError
from ldseg.evaluation.case_metrics import ClassScores, evaluate_case, mean_over_raters
from ldseg.evaluation.corruptions import CORRUPTIONS, corrupt
from ldseg.evaluation.scores import Scores
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.decision import Decision
from ldseg.inference.ensemble import members_of
from ldseg.inference.ensemble_files import member_folders
from ldseg.metrics.intervals import Interval
from ldseg.planning.plan import Plan
from ldseg.runs.files import SPLITS_FILE
from ldseg.settings import SamplingRecord

CLEAN = "clean"
"""The name of the point without corruption."""


@dataclass(frozen=True)
class RobustnessOptions:
    """Options of a robustness sweep; None takes the sampling that the model was trained for."""

    corruptions: tuple[str, ...] = tuple(CORRUPTIONS)
    steps: int | None = None
    samples: int | None = None
    seed: int = 0
    """Seed of the corruptions and of the model's noise."""
    tolerance: float = 1.0
    """Tolerance of the surface Dice, in mm, or in voxels where the images have no physical spacing."""
    harmonize: bool = True
    """Whether the model harmonizes images that differ from those of training."""
    decision: Decision | None = None
    """How labels follow from several samples; None: as the model's calibration chose."""

    def __post_init__(self) -> None:
        strange = [name for name in self.corruptions if name not in CORRUPTIONS]
        if strange or not self.corruptions:
            found = strange[0] if strange else ""
            raise InputError(f"corruptions is {found!r}; choose any of {', '.join(CORRUPTIONS)}")


@dataclass(frozen=True)
class RobustnessSetup:
    """The model, data and options of a sweep, which is only resumed with the same ones."""

    weights: str
    """SHA-256 of the model's weights."""
    baseline: str
    preset: str
    data: str
    """Name of the data set's folder."""
    part: str
    """"test" for the test part of the training's splits, else "all"."""
    cases: tuple[str, ...]
    sampling: SamplingRecord
    seed: int
    tolerance: float
    """In `unit`."""
    harmonize: bool = False
    unit: LengthUnit = "mm"
    """Unit of lengths; "px" where the images have no physical spacing."""
    decision: Decision = "argmax"
    """How labels follow from several samples."""


@dataclass(frozen=True)
class RobustnessPoint:
    """The scores of all cases at one strength of one corruption."""

    corruption: str
    strength: float
    mean_dice: float
    """Mean over classes and cases."""
    mean_dice_interval: Interval | None
    """95 % interval, by subjects; None for a single subject."""
    cases: dict[str, dict[str, dict[str, float]]]
    """Case to class to metric to value."""


@dataclass(frozen=True)
class Robustness:
    """A sweep, complete or in progress."""

    setup: RobustnessSetup
    points: tuple[RobustnessPoint, ...] = ()

    def find(self, corruption: str, strength: float) -> RobustnessPoint | None:
        """Return the point, or None if it was not measured.

        The first strength of each corruption is the clean point.
        """
        key = _key(corruption, strength)
        return next((point for point in self.points if (point.corruption, point.strength) == key), None)

    def curve(self, corruption: str) -> list[RobustnessPoint] | None:
        """Return the points along the strengths, or None while some are missing."""
        found = [self.find(corruption, strength) for strength in CORRUPTIONS[corruption].strengths]
        points = [point for point in found if point is not None]
        return points if len(points) == len(found) else None

    def curves(self) -> dict[str, list[RobustnessPoint]]:
        """Return all complete curves, in the order of the registry."""
        found = {name: self.curve(name) for name in CORRUPTIONS}
        return {name: points for name, points in found.items() if points is not None}


def cases_to_test(dataset: DataSet, run: Path) -> tuple[str, tuple[Case, ...]]:
    """Return "test" and the test cases of the splits in `run`, else "all" and all cases with masks.

    All cases are taken where there is no test part or the data set has none of its cases.

    Raises InputError when no case has a mask, or the splits are damaged.
    """
    labelled = tuple(case for case in dataset.cases if case.labels)
    if not labelled:
        raise InputError(f"{dataset.root}: no case has a mask; robustness is measured against masks")
    path = run / SPLITS_FILE
    tested = set(match_spelling(read_splits(path), labelled).test) if path.is_file() else set[str]()
    chosen = tuple(case for case in labelled if case.name in tested)
    return ("test", chosen) if chosen else ("all", labelled)


def count_trained(run: Path, predictor: BasePredictor, names: Sequence[str]) -> int:
    """Return how many of the cases `names` trained the model in `run`, or a member, as its splits say."""
    trained: set[str] = set()
    for place, member in zip(member_folders(run), members_of(predictor), strict=True):
        if (place / SPLITS_FILE).is_file():
            part = read_splits(place / SPLITS_FILE).part(member.settings.training.fold)
            trained |= {name_key(name) for name in part.train}
    return sum(name_key(name) in trained for name in names)


def start_sweep(
    run: Path, predictor: BasePredictor, dataset: DataSet, options: RobustnessOptions
) -> Robustness:
    """Return a sweep of the model in the folder `run` with nothing measured yet.

    Raises InputError: illegal sampling, a set with other classes than the model's, no masks, a damaged
    image.
    """
    _check_classes(predictor.plan, dataset)
    predictor = predictor if options.decision is None else predictor.deciding_by(options.decision)
    sampling = predictor.sampling(options.steps, options.samples)
    part, cases = cases_to_test(dataset, run)
    setup = RobustnessSetup(
        weights=predictor.identity.sha256,
        baseline=predictor.settings.baseline,
        preset=predictor.settings.preset,
        data=dataset.root.resolve().name,
        part=part,
        cases=tuple(case.name for case in cases),
        sampling=sampling.record(predictor.stepwise),
        seed=options.seed,
        tolerance=options.tolerance,
        harmonize=options.harmonize,
        unit=length_unit(load_image(dataset, cases[0]).physical),
        decision=predictor.decision if predictor.decides(sampling) else "argmax",
    )
    return Robustness(setup)


def sweep(
    predictor: BasePredictor,
    dataset: DataSet,
    begun: Robustness,
    corruptions: Sequence[str],
    keep: Callable[[Robustness], None],
    on_case: Callable[[float, str], None] = lambda _share, _text: None,
    on_notes: Callable[[str, tuple[str, ...]], None] = lambda _case, _notes: None,
) -> Robustness:
    """Measure the missing points of `corruptions`.

    `keep` is called with the sweep so far after each strength, `on_case` with the share of the work that is
    done, and `on_notes` with what was assumed or changed when the files of a case were read. Raises
    InputError for a case that cannot be read, segmented or scored; what was measured before it is kept.
    """
    wanted = [_key(name, strength) for name in corruptions for strength in CORRUPTIONS[name].strengths]
    missing = [key for key in dict.fromkeys(wanted) if begun.find(*key) is None]
    predictor = predictor if begun.setup.harmonize else predictor.without_harmonization()
    predictor = predictor.deciding_by(begun.setup.decision)
    by_name = {case.name: case for case in dataset.cases}
    cases = [by_name[name] for name in begun.setup.cases]
    state, done = begun, 0
    for corruption, strength in missing:
        scores: dict[str, dict[str, ClassScores]] = {}
        for case in cases:
            image, masks = load_case(dataset, case)
            on_notes(case.name, merge_notes(image, *masks))
            if corruption != CLEAN:
                image = corrupt(image, corruption, strength, state.setup.seed, case.name)
            scores[case.name] = _score(predictor, dataset, case, image, masks, state.setup)
            done += 1
            on_case(done / (len(missing) * len(cases)), f"{corruption} {strength:g}, {case.name}")
        point = _point(corruption, strength, scores, predictor.plan, cases, state.setup)
        state = replace(state, points=(*state.points, point))
        keep(state)
    return state


def _key(corruption: str, strength: float) -> tuple[str, float]:
    """Return the name and strength of the point; all first strengths are the clean point."""
    if corruption == CLEAN or strength <= CORRUPTIONS[corruption].strengths[0]:
        return CLEAN, 0.0
    return corruption, float(strength)


def _score(
    predictor: BasePredictor,
    dataset: DataSet,
    case: Case,
    image: Volume,
    masks: Sequence[Volume],
    setup: RobustnessSetup,
) -> dict[str, ClassScores]:
    """Return the scores of each class, averaged over raters."""
    sampling = setup.sampling.settings(predictor.settings.posterior)
    labels = predictor(
        image,
        case.name,
        steps=sampling.steps,
        samples=sampling.samples,
        sampler=sampling.sampler,
        seed=setup.seed,
        source=str(case.images[0]),
        tta=sampling.tta,
    ).labels
    classes, ignore_id = predictor.plan.classes, dataset.ignore_id
    return mean_over_raters(
        [evaluate_case(labels, mask, classes, ignore_id, setup.tolerance) for mask in masks]
    )


def _point(
    corruption: str,
    strength: float,
    cases: dict[str, dict[str, ClassScores]],
    plan: Plan,
    order: Sequence[Case],
    setup: RobustnessSetup,
) -> RobustnessPoint:
    """Return the point with the summary of the scores of `cases`."""
    scores = Scores(cases, plan.classes, setup.tolerance, {case.name: case.subject for case in order})
    return RobustnessPoint(
        corruption,
        strength,
        scores.mean_dice,
        scores.mean_dice_interval,
        {name: {one: found.metrics for one, found in case.items()} for name, case in cases.items()},
    )


def _check_classes(plan: Plan, dataset: DataSet) -> None:
    """Raise InputError where the masks have a class that the model does not know."""
    strange = sorted(set(dataset.classes.values()) - set(plan.classes.values()))
    if strange:
        raise InputError(
            f"{dataset.root}: its masks have the id {strange[0]}, the model knows "
            f"{', '.join(f'{name}: {id_}' for name, id_ in plan.classes.items())}; read the masks as in "
            "training, e.g. with --labels-above-zero"
        )
