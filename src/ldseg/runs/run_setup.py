"""Set up a run's folder before training: the data, the splits, the fingerprint and the plan.

    RUN/data.json         path of the data set and how it is read
        splits.json       cases for training, validation and test
        fingerprint.json  measurements of the data set
        plan.json         may be edited before training

Files that exist already are used unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from statistics import mean
from typing import Literal

from ldseg.data.cases import Case, DataOptions, DataSet
from ldseg.data.dataset import load_image, open_dataset
from ldseg.data.ranges import mixed_scales
from ldseg.data.splits import Splits, evenly_spaced, make_splits, match_spelling, read_splits, write_splits
from ldseg.errors import InputError, file_error, listed
from ldseg.planning.fingerprint import Fingerprint, read_fingerprint, take_fingerprint, write_fingerprint
from ldseg.planning.heuristics import is_photograph
from ldseg.planning.plan import Plan, PlanSettings, make_plan, read_plan, write_plan
from ldseg.preprocessing.intensity_statistics import measure_intensity_statistics
from ldseg.preprocessing.preprocess import preprocess_image
from ldseg.runs.files import DATA_FILE, FINGERPRINT_FILE, PLAN_FILE, SPLITS_FILE
from ldseg.utils.serialization import from_json, read_versioned, to_json, write_json_atomic

Adopt = Callable[[Fingerprint, Plan], Plan]
DEFAULT_FOLDS = 5
_DATA_VERSION = 1
_MOST_SAMPLED, _FEWEST_SAMPLED, _VOXELS_SAMPLED = 64, 16, 2**31
"""Upper and lower limit of the images sampled for intensity statistics, and the voxels to sample in all."""


@dataclass(frozen=True)
class SplitOptions:
    """Options for splitting the cases if the run has no splits.json yet."""

    file: Path | None = None
    """A splits.json to copy, e.g. of another run; the other options are then unused."""
    test_fraction: float = 0.0
    """Fraction of the subjects reserved for the test, in [0, 1)."""
    seed: int = 0
    folds: int | None = None
    """Number of folds, which the subjects must be enough for; None: 5, or as many as there are subjects."""
    fold: int | Literal["all"] = "all"
    """Fold that is to be trained; nothing is written where there is none of this number."""

    def __post_init__(self) -> None:
        if self.file is not None and (self.test_fraction or self.seed):
            raise InputError("--splits says how cases are split; leave out --test-fraction and --split-seed")


@dataclass(frozen=True)
class PreparedRun:
    """A data set with the splits and the plan of a run."""

    dataset: DataSet
    splits: Splits
    plan: Plan


def prepare_run(
    data: Path,
    run: Path,
    options: DataOptions | None = None,
    limits: PlanSettings | None = None,
    split: SplitOptions | None = None,
    adopt: Adopt | None = None,
) -> PreparedRun:
    """Open the data, split and plan, or use the files that `run` has. Test cases do not influence the plan.

    `adopt` changes a new plan for the data of the fingerprint, e.g. to that of another model.

    Raises:
        InputError: the data cannot be used, or do not fit what `run` has.
    """
    options = _data_options(run / DATA_FILE, options)
    dataset = open_dataset(data, options)
    split = split or SplitOptions()
    splits = _splits(run / SPLITS_FILE, dataset, split)
    splits.part(split.fold)  # raises where there is none
    path = run / PLAN_FILE
    if path.exists():
        plan = read_plan(path)
        _check_plan_fits(path, plan, dataset)
        known = replace(plan, appearance=(), channel_files=dataset.channel_files)
        if limits not in (None, PlanSettings()):  # a killed command may be repeated unchanged
            stored = run / FINGERPRINT_FILE
            fingerprint = read_fingerprint(stored) if stored.is_file() else None
            if fingerprint is None or known != _make_plan(fingerprint, dataset, limits, adopt):
                raise file_error(path, "there is a plan already", "remove it to plan anew with other limits")
    else:
        tested = set(splits.test)
        cases = [case for case in dataset.cases if case.name not in tested]
        fingerprint, plan = fingerprint_and_plan(dataset, cases, limits or PlanSettings(), adopt)
        run.mkdir(parents=True, exist_ok=True)
        write_fingerprint(run / FINGERPRINT_FILE, fingerprint)
        write_plan(path, plan)
    run.mkdir(parents=True, exist_ok=True)
    write_splits(run / SPLITS_FILE, splits)
    _write_data_options(dataset, run, options)
    return PreparedRun(dataset, splits, plan)


def open_changed_run(data: Path, run: Path, options: DataOptions | None = None) -> PreparedRun:
    """Return the data as they are now, with the splits and the plan that `run` has; the splits may name cases
    that are gone, and miss new ones.

    Raises:
        InputError: the data cannot be used, or do not fit the plan.
    """
    options = _data_options(run / DATA_FILE, options)
    dataset = open_dataset(data, options)
    plan = read_plan(run / PLAN_FILE)
    _check_plan_fits(run / PLAN_FILE, plan, dataset, "train another model from its weights, with --from")
    return PreparedRun(dataset, match_spelling(read_splits(run / SPLITS_FILE), dataset.cases), plan)


def write_changed_run(prepared: PreparedRun, run: Path, options: DataOptions | None = None) -> PreparedRun:
    """Write where the data of `run` are now, and return `prepared`. Raises InputError if the disk refuses."""
    _write_data_options(prepared.dataset, run, _data_options(run / DATA_FILE, options))
    return prepared


def _write_data_options(dataset: DataSet, run: Path, options: DataOptions) -> None:
    content = {"version": _DATA_VERSION, "root": str(dataset.root.resolve()), "options": to_json(options)}
    write_json_atomic(run / DATA_FILE, content)


def fingerprint_and_plan(
    dataset: DataSet, cases: Sequence[Case], limits: PlanSettings, adopt: Adopt | None = None
) -> tuple[Fingerprint, Plan]:
    """Return the fingerprint of `cases` and the plan for training on them, with intensity statistics.

    `adopt` changes the plan before the intensities are measured on its grid.

    Raises:
        InputError: a case cannot be read, or the limits do not fit.
    """
    fingerprint = take_fingerprint(dataset, cases)
    plan = _make_plan(fingerprint, dataset, limits, adopt)
    if limits.normalization == "unit":
        return fingerprint, plan
    voxels = mean(prod(case.shape) for case in fingerprint.cases)
    seen = evenly_spaced(cases, max(_FEWEST_SAMPLED, min(_MOST_SAMPLED, int(_VOXELS_SAMPLED / voxels))))
    prepared = (preprocess_image(load_image(dataset, case), plan, case.name).array for case in seen)
    return fingerprint, replace(plan, appearance=measure_intensity_statistics(prepared, plan))


def _make_plan(fingerprint: Fingerprint, dataset: DataSet, limits: PlanSettings, adopt: Adopt | None) -> Plan:
    """Return the plan for a fingerprint, as `adopt` changes it."""
    plan = make_plan(fingerprint, dataset, limits)
    return plan if adopt is None else adopt(fingerprint, plan)


def intensity_remarks(run: Path) -> tuple[str, ...]:
    """Return remarks on suspicious intensities in the images that the plan in `run` was made for."""
    path = run / FINGERPRINT_FILE
    if not path.is_file():
        return ()
    fingerprint = read_fingerprint(path)
    constant = [image.name for image in fingerprint.ranges if image.minimum == image.maximum]
    said = (
        f"{len(constant)} images have one value in all their voxels, e.g. {constant[0]}" if constant else ""
    )
    return (*mixed_scales(fingerprint.ranges, is_photograph(fingerprint)), *((said,) if said else ()))


def read_prepared(data: Path, run: Path) -> PreparedRun:
    """Return what `prepare_run` has written into `run`."""
    dataset = open_dataset(data, read_data_options(run / DATA_FILE))
    return PreparedRun(dataset, read_splits(run / SPLITS_FILE), read_plan(run / PLAN_FILE))


def read_data_options(path: Path) -> DataOptions:
    """Return how a run reads its data, from its data.json. Raises InputError: missing, damaged, newer."""
    content = read_versioned(path, _DATA_VERSION, "remove it and give the options of reading again")
    return from_json(DataOptions, content.get("options", {}), str(path))


def read_data_root(path: Path) -> Path:
    """Return where a run found its data, from its data.json. Raises InputError: missing, damaged, newer."""
    content = read_versioned(path, _DATA_VERSION, "train again to write it anew")
    if not isinstance(content.get("root"), str):
        raise InputError(f"{path}: does not say where the data are; give their folder")
    return Path(content["root"])


def _data_options(path: Path, given: DataOptions | None) -> DataOptions:
    """Return how this run reads its data: the stored options, else the given ones."""
    if not path.exists():
        return given or DataOptions()
    stored = read_data_options(path)
    if given not in (None, stored, DataOptions()):
        raise InputError(
            f"{path}: this run reads its data in another way; choose another -o, or the same options"
        )
    return stored


def _splits(path: Path, dataset: DataSet, wanted: SplitOptions) -> Splits:
    """Return the splits of the run, else those of a file, else new ones; all name cases of this data set."""
    if (
        path.exists()
        and replace(wanted, folds=None, fold="all") != SplitOptions()
        and match_spelling(read_splits(path), dataset.cases) != _new_splits(dataset, wanted)
    ):
        raise InputError(f"{path}: this run has its splits; remove the file to split anew")
    source = path if path.exists() else wanted.file
    if source is None:
        return _new_splits(dataset, wanted)
    splits = match_spelling(read_splits(source), dataset.cases)
    if wanted.folds not in (None, len(splits.folds)):
        raise InputError(
            f"{source}: has {len(splits.folds)} folds; give --folds {len(splits.folds)}, or other splits"
        )
    known = {case.name for case in dataset.cases}
    named = [*splits.test, *(name for fold in splits.folds for name in (*fold.train, *fold.validation))]
    unknown = sorted(set(named) - known)
    if unknown:
        again = "go on without it with --continue" if source == path else "remove it from the splits"
        raise InputError(
            f"{source}: {listed(unknown)}: no such case in {dataset.root}; give its data again, or {again}"
        )
    return splits


def _new_splits(dataset: DataSet, wanted: SplitOptions) -> Splits:
    if wanted.file is not None:
        return match_spelling(read_splits(wanted.file), dataset.cases)
    splits = make_splits(dataset.cases, wanted.seed, wanted.folds or DEFAULT_FOLDS, wanted.test_fraction)
    if wanted.folds not in (None, len(splits.folds)):
        raise InputError(
            f"{dataset.root}: {wanted.folds} folds need as many subjects, and there are {len(splits.folds)}; "
            f"give at most --folds {len(splits.folds)}"
        )
    return splits


def _check_plan_fits(
    path: Path, plan: Plan, dataset: DataSet, remedy: str = "remove the file to plan anew"
) -> None:
    """Raise InputError when the plan was made for other data."""
    pairs = {
        "axes": (plan.axes, dataset.axes),
        "channels": (tuple(channel.name for channel in plan.channels), dataset.channel_names),
        "classes": (plan.classes, dataset.classes),
        "ignore_id": (plan.ignore_id, dataset.ignore_id),
        "labels_above_zero": (plan.labels_above_zero, dataset.labels_above_zero),
    }
    for name, (planned, found) in pairs.items():
        if planned != found:
            raise InputError(f"{path}: {name} is {planned}, the data have {found}; {remedy}")
