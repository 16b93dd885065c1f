"""What stands in a run's folder before it trains: which data, which cases for what, how they look, the plan.

    RUN/data.json         which data, read how
        splits.json       which cases train, validate and test
        fingerprint.json  what the data look like
        plan.json         may be edited before training

Each file that is already there is used as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from statistics import mean

from ldseg.data.cases import Case, DataOptions, DataSet
from ldseg.data.dataset import load_image, open_dataset
from ldseg.data.ranges import mixed_scales
from ldseg.data.splits import Splits, evenly_spaced, make_splits, match_spelling, read_splits, write_splits
from ldseg.errors import InputError, listed
from ldseg.planning.fingerprint import Fingerprint, read_fingerprint, take_fingerprint, write_fingerprint
from ldseg.planning.heuristics import is_photograph
from ldseg.planning.plan import Plan, PlanSettings, make_plan, read_plan, write_plan
from ldseg.preprocessing.intensity_statistics import measure_intensity_statistics
from ldseg.preprocessing.preprocess import preprocess_image
from ldseg.runs.files import DATA_FILE, FINGERPRINT_FILE, PLAN_FILE, SPLITS_FILE
from ldseg.utils.serialization import from_json, read_versioned, to_json, write_json_atomic

_DATA_VERSION = 1
_LOOKED_AT, _LOOKED_AT_OF_LARGE, _MANY_VOXELS = 64, 16, 2**31
"""Images from which the plan knows what all look like, at most; and as many at least, of images so large that
together they have more voxels."""


@dataclass(frozen=True)
class SplitOptions:
    """How cases are split where the run has no splits.json yet."""

    file: Path | None = None
    """A splits.json to copy, e.g. of another run; the others then mean nothing."""
    test_fraction: float = 0.0
    """Share of the subjects that neither trains nor validates, in [0, 1)."""
    seed: int = 0
    folds: int = 5

    def __post_init__(self) -> None:
        if self.file is not None and (self.test_fraction or self.seed):
            raise InputError("--splits says how cases are split; leave out --test-fraction and --split-seed")


@dataclass(frozen=True)
class PreparedRun:
    """What training needs to know of the data."""

    dataset: DataSet
    splits: Splits
    plan: Plan


def prepare_run(
    data: Path,
    run: Path,
    options: DataOptions | None = None,
    limits: PlanSettings | None = None,
    split: SplitOptions | None = None,
) -> PreparedRun:
    """Open the data, split and plan, or take what `run` has of these. The test part does not shape the plan.

    Raises:
        InputError: the data cannot be used, or do not fit what `run` has.
    """
    options = _data_options(run / DATA_FILE, options)
    dataset = open_dataset(data, options)
    splits = _splits(run / SPLITS_FILE, dataset, split or SplitOptions())
    path = run / PLAN_FILE
    if path.exists():
        plan = read_plan(path)
        _check_plan_fits(path, plan, dataset)
        known = replace(plan, appearance=(), channel_files=dataset.channel_files)
        if limits not in (None, PlanSettings()) and known != _plan_again(run, dataset, limits):
            raise InputError(f"{path}: there is a plan already; remove it to plan anew with other limits")
    else:
        tested = set(splits.test)
        cases = [case for case in dataset.cases if case.name not in tested]
        fingerprint, plan = look_and_plan(dataset, cases, limits or PlanSettings())
        run.mkdir(parents=True, exist_ok=True)
        write_fingerprint(run / FINGERPRINT_FILE, fingerprint)
        write_plan(path, plan)
    run.mkdir(parents=True, exist_ok=True)
    write_splits(run / SPLITS_FILE, splits)
    content = {"version": _DATA_VERSION, "root": str(dataset.root.resolve()), "options": to_json(options)}
    write_json_atomic(run / DATA_FILE, content)
    return PreparedRun(dataset, splits, plan)


def look_and_plan(dataset: DataSet, cases: Sequence[Case], limits: PlanSettings) -> tuple[Fingerprint, Plan]:
    """The plan for training on `cases`, which knows what they look like.

    Raises:
        InputError: a case cannot be read, or the limits do not fit.
    """
    fingerprint = take_fingerprint(dataset, cases)
    plan = make_plan(fingerprint, dataset, limits)
    voxels = mean(prod(case.shape) for case in fingerprint.cases)
    seen = evenly_spaced(cases, max(_LOOKED_AT_OF_LARGE, min(_LOOKED_AT, int(_MANY_VOXELS / voxels))))
    prepared = (preprocess_image(load_image(dataset, case), plan, case.name).array for case in seen)
    return fingerprint, replace(plan, appearance=measure_intensity_statistics(prepared, plan))


def intensity_remarks(run: Path) -> tuple[str, ...]:
    """Return what is odd about the numbers of the images that the plan in `run` was made for."""
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
    """What `prepare_run` left in `run`."""
    dataset = open_dataset(data, read_data_options(run / DATA_FILE))
    return PreparedRun(dataset, read_splits(run / SPLITS_FILE), read_plan(run / PLAN_FILE))


def read_data_options(path: Path) -> DataOptions:
    """How a run reads its data, from its data.json. Raises InputError: missing, damaged, newer."""
    content = read_versioned(path, _DATA_VERSION, "remove it and give the options of reading again")
    return from_json(DataOptions, content.get("options", {}), str(path))


def _plan_again(run: Path, dataset: DataSet, limits: PlanSettings | None) -> Plan | None:
    """The plan that these limits give; a command that was killed may be given again as it was."""
    path = run / FINGERPRINT_FILE
    return make_plan(read_fingerprint(path), dataset, limits or PlanSettings()) if path.is_file() else None


def _data_options(path: Path, given: DataOptions | None) -> DataOptions:
    """How this run reads its data: as it did before, else as asked."""
    if not path.exists():
        return given or DataOptions()
    stored = read_data_options(path)
    if given not in (None, stored, DataOptions()):
        raise InputError(
            f"{path}: this run reads its data in another way; choose another -o, or the same options"
        )
    return stored


def _splits(path: Path, dataset: DataSet, wanted: SplitOptions) -> Splits:
    """Those of the run, else of a file, else new ones; all of them name cases of this set."""
    if (
        path.exists()
        and wanted != SplitOptions()
        and match_spelling(read_splits(path), dataset.cases) != _new_splits(dataset, wanted)
    ):
        raise InputError(f"{path}: this run has its splits; remove the file to split anew")
    source = path if path.exists() else wanted.file
    if source is None:
        return _new_splits(dataset, wanted)
    splits = match_spelling(read_splits(source), dataset.cases)
    known = {case.name for case in dataset.cases}
    named = [*splits.test, *(name for fold in splits.folds for name in (*fold.train, *fold.validation))]
    strange = sorted(set(named) - known)
    if strange:
        again = "train in another folder with -o" if source == path else "remove it from the splits"
        raise InputError(
            f"{source}: {listed(strange)}: no such case in {dataset.root}; give its data again, or {again}"
        )
    return splits


def _new_splits(dataset: DataSet, wanted: SplitOptions) -> Splits:
    if wanted.file is not None:
        return match_spelling(read_splits(wanted.file), dataset.cases)
    return make_splits(dataset.cases, wanted.seed, wanted.folds, wanted.test_fraction)


def _check_plan_fits(path: Path, plan: Plan, dataset: DataSet) -> None:
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
            raise InputError(
                f"{path}: {name} is {planned}, the data have {found}; remove the file to plan anew"
            )
