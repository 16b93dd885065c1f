"""Data of a report: the run's data set and the cases for evaluation or calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ldseg.data.cases import Case, DataOptions, DataSet
from ldseg.data.dataset import open_dataset
from ldseg.data.file_names import name_key
from ldseg.data.splits import evenly_spaced, match_spelling, read_splits
from ldseg.errors import InputError, file_error, listed
from ldseg.planning.plan import Plan
from ldseg.runs.files import DATA_FILE, SPLITS_FILE
from ldseg.runs.run_setup import read_data_options
from ldseg.settings import RunSettings
from ldseg.utils.serialization import read_json

Part = Literal["test", "validation", "all", "scored"]
Seen = Literal["none", "some", "unknown"]
"""Whether cases trained the model; "unknown" for a model without splits."""
TOLERANCE = 1.0
"""Tolerance of NSD and surface Dice in mm, or in voxels without a physical spacing."""


@dataclass(frozen=True)
class EvaluationCases:
    """A data set and the cases to evaluate, all with masks."""

    dataset: DataSet
    part: Part
    cases: tuple[Case, ...]
    available: int
    """Number of cases in the part, before a limit."""
    seen: Seen
    """Whether the model was trained on some of them."""


def open_run_data(run: Path, data: Path | None, plan: Plan) -> DataSet:
    """Return the training's data set, or the one at `data` read in the same way.

    Raises:
        InputError: it was moved or cannot be read, its location is unknown, or its classes are not the
            model's.
    """
    stored = run / DATA_FILE
    options = read_data_options(stored) if stored.is_file() else DataOptions()
    root = data
    if root is None:
        if not stored.is_file():
            raise file_error(
                stored, "there is no such file", "say where the images and masks are with --data"
            )
        root = Path(str(read_json(stored, "say where the images and masks are with --data").get("root", "")))
        if not root.exists():
            raise file_error(
                root, f"the data of {run.name} are no longer there", "say where they are with --data"
            )
    dataset = open_dataset(root, options)
    _refuse_other_classes(dataset, plan)
    return dataset


def select_cases(
    run: Path,
    dataset: DataSet,
    settings: RunSettings,
    part: Literal["test", "validation"] | None,
    scored: Sequence[str] | None,
    limit: int | None,
) -> EvaluationCases:
    """Return the cases to evaluate: those with scores, else those of `part`, else the test part, else the
    validation fold; all cases of data other than the training's. At most `limit`, evenly spaced.

    Raises:
        InputError: there is no such case, or the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; choose 1 or more cases")
    path = run / SPLITS_FILE
    splits = match_spelling(read_splits(path), dataset.cases) if path.is_file() else None
    fold = None if splits is None else splits.part(settings.training.fold)
    labelled = {case.name: case for case in dataset.cases if case.labels}
    parts: dict[Part, Sequence[str]] = {}
    if scored is not None:
        parts["scored"] = scored
    elif splits is not None and fold is not None:
        known: dict[Part, Sequence[str]] = {"test": splits.test, "validation": fold.validation}
        parts = known if part is None else {part: known[part]}
    if part is None and scored is None:
        parts["all"] = tuple(labelled)
    for name, names in parts.items():
        found = tuple(labelled[case] for case in names if case in labelled)
        if found:
            kept, seen = evenly_spaced(found, limit), "unknown"
            if fold is not None:
                seen = "some" if any(case.name in fold.train for case in kept) else "none"
            return EvaluationCases(dataset, name, kept, len(found), seen)
    wanted = next(iter(parts), part)
    raise file_error(dataset.root, f"has no case of the part {wanted}", "choose another --part or --data")


def cases_outside_test(run: Path, dataset: DataSet) -> tuple[Case, ...]:
    """Return all cases but those of the test part. Raises InputError where the splits cannot be read."""
    test = set(match_spelling(read_splits(run / SPLITS_FILE), dataset.cases).test)
    return tuple(case for case in dataset.cases if case.name not in test)


CalibrationData = Literal["validation", "other", "unknown"]
"""Validation cases of the run, cases of other data than the training's, or, for a model without splits, cases
that it may have been trained on."""


def calibration_cases(
    run: Path, dataset: DataSet, settings: RunSettings
) -> tuple[tuple[Case, ...], CalibrationData]:
    """Return the cases to calibrate on: the validation cases of the run; of data that its splits do not name,
    and where it has no splits, all cases with masks.

    Raises:
        InputError: there is none, or the model was trained on all cases.
    """
    labelled = tuple(case for case in dataset.cases if case.labels)
    if not labelled:
        raise file_error(dataset.root, "has no case with masks", "give images and masks with --data")
    path = run / SPLITS_FILE
    if not path.is_file():
        return labelled, "unknown"
    splits = match_spelling(read_splits(path), dataset.cases)
    part = splits.part(settings.training.fold)
    known = {*splits.test, *part.train, *part.validation}
    if not any(case.name in known for case in labelled):
        return labelled, "other"
    chosen = tuple(case for case in labelled if case.name in part.validation)
    if any(case.name in part.train for case in chosen):
        finding = "was trained on all cases, none is left to calibrate on"
        raise file_error(run, finding, "train with --fold 0")
    if not chosen:
        finding = f"has none of the validation cases of {run.name}"
        raise file_error(dataset.root, finding, "give the data of the training, or other data, with --data")
    return chosen, "validation"


def named_cases(dataset: DataSet, names: Sequence[str]) -> tuple[Case, ...]:
    """Return the named cases. Raises InputError for a name that no case with masks has."""
    by_name = {name_key(case.name): case for case in dataset.cases if case.labels}
    missing = [name for name in names if name_key(name) not in by_name]
    if missing:
        raise file_error(
            dataset.root, f"has no case {listed(missing)} with masks", f"choose from {listed(list(by_name))}"
        )
    return tuple(by_name[name_key(name)] for name in names)


def _refuse_other_classes(dataset: DataSet, plan: Plan) -> None:
    """Raise InputError if the masks have a class that the model does not know."""
    strange = sorted(set(dataset.classes.values()) - set(plan.classes.values()))
    if strange:
        known = ", ".join(f"{name}: {id_}" for name, id_ in plan.classes.items())
        raise file_error(
            dataset.root,
            f"its masks have the id {strange[0]}, the model knows {known}",
            "give the data that the model was made for with --data",
        )
