"""A run's folder from the first look at the data to the training.

    RUN/data.json         which data, read how
        splits.json       which cases train, validate and test
        fingerprint.json  what the data look like
        plan.json         may be edited before training
        ...               what training writes (see training/run.py)
        calibration.json  how sure it may be, fitted on validation cases when training has ended

Each file that is already there is used as it is. Stands above training; the command line and Python users
call it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.data.cases import DataOptions, DataSet
from ldseg.data.datasets import open_dataset
from ldseg.data.splits import Splits, evenly, make_splits, read_splits, write_splits
from ldseg.errors import InputError
from ldseg.planning.fingerprint import read_fingerprint, take_fingerprint, write_fingerprint
from ldseg.planning.plan import Plan, PlanSettings, make_plan, read_plan, write_plan
from ldseg.presets import PRESETS
from ldseg.records import from_json, read_versioned, to_json, with_changes, write_json_atomic
from ldseg.settings import RunSettings
from ldseg.sole_use import sole_use

if TYPE_CHECKING:
    from ldseg.processes import Team
    from ldseg.training.run import TrainingResult

DATA_FILE, SPLITS_FILE, FINGERPRINT_FILE, PLAN_FILE = (
    "data.json",
    "splits.json",
    "fingerprint.json",
    "plan.json",
)
_TRAINED = ("settings.json", "state")
_DATA_VERSION = 1
BUDGETS = ("steps", "minutes", "cpu_minutes", "epochs")
DEFAULT_MINUTES = 60.0
_CALIBRATION_CASES = 24
OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class SplitOptions:
    """How cases are split where the run has no splits.json yet."""

    file: Path | None = None
    """A splits.json to copy, e.g. of another run; the others then mean nothing."""
    test_fraction: float = 0.0
    """Share of the subjects that neither trains nor validates, in [0, 1)."""
    seed: int = 0
    folds: int = 5


@dataclass(frozen=True)
class PreparedRun:
    """What training needs to know of the data."""

    dataset: DataSet
    splits: Splits
    plan: Plan


def _silent(event: dict[str, Any]) -> None:
    del event


def plan_run(
    data: Path | str,
    run: Path | str,
    options: DataOptions | None = None,
    limits: PlanSettings | None = None,
    split: SplitOptions | None = None,
) -> Plan:
    """Look at the data and write the plan of a training into `run`.

    Raises:
        InputError: the data cannot be used, or `run` has a plan already.
    """
    path = Path(run) / PLAN_FILE
    if path.exists():
        raise InputError(f"{path}: there is a plan already; remove it to plan anew, or train with it")
    return prepare_run(Path(data), Path(run), options, limits, split).plan


def train_run(
    data: Path | str,
    run: Path | str,
    preset: str = "default",
    changes: dict[str, Any] | None = None,
    options: DataOptions | None = None,
    limits: PlanSettings | None = None,
    split: SplitOptions | None = None,
    resume: bool = False,
    device: str | None = None,
    on_event: OnEvent = _silent,
    team: Team | None = None,
) -> TrainingResult:
    """Train on `data` into `run` and calibrate; plans and splits first where `run` has no plan and splits.

    `changes` go on top of the preset, nested as `RunSettings` is: {"training": {"minutes": 30}}. With
    `resume` the run continues with its own settings. `on_event` gets training's records (training/run.py),
    before them {"event": "settings", "run", "train", "validation", "test", "budget"}, and after them
    {"event": "calibrating", "progress", "case"} for each case. `team` are the processes that train together
    (`ldseg.processes.join`); `run` and `data` must be the same files for all.

    Raises:
        InputError: the data or settings cannot be used, `run` holds a training already, none to resume, or
            another training is at work in it.
    """
    from ldseg.device import choose_device
    from ldseg.processes import ALONE
    from ldseg.training.run import forget_unfinished, train

    folder, team = Path(run), team or ALONE

    def prepare() -> PreparedRun:
        _check_folder(folder, resume)
        choose_device(device)  # a device that is not here is no reason to prepare all cases first
        if resume and changes:
            given = ", ".join(changes)
            raise InputError(f"{folder}: a resumed training keeps its settings; leave out what sets {given}")
        use.enter_context(sole_use(folder, "training"))
        _check_folder(folder, resume)  # again: another may have been at work until now
        forget_unfinished(folder)
        return prepare_run(Path(data), folder, options, limits, split)

    with ExitStack() as use:
        prepared = team.after_first(prepare, lambda: _prepared_run(Path(data), folder))
        plan = prepared.plan
        if resume:
            settings = team.checked(lambda: _stored_settings(plan, folder))
        else:
            wanted = changes or {}
            settings = team.checked(lambda: make_settings(plan, preset, wanted, folder / PLAN_FILE))
        part = prepared.splits.part(settings.training.fold)
        on_event(
            {
                "event": "settings",
                "run": str(folder),
                "train": len(part.train),
                "validation": len(part.validation),
                "test": len(prepared.splits.test),
                "budget": describe_budget(settings),
            }
        )
        result = train(
            prepared.dataset, plan, prepared.splits, settings, folder, resume, on_event, device, team
        )
        unseen = sorted(set(part.validation) - set(part.train))
        if unseen and settings.training.calibrate and not result.interrupted:
            team.first_does(
                lambda: _calibrate(prepared.dataset, unseen, folder, team.device_name(device), on_event)
            )
        return result


def _calibrate(
    dataset: DataSet, names: Sequence[str], folder: Path, device: str | None, on_event: OnEvent
) -> None:
    """Fit the trained model's confidence on at most `_CALIBRATION_CASES` cases of `names`, evenly spaced."""
    from ldseg.evaluation.calibration_fit import NoStructureError, calibrate
    from ldseg.inference.predictor import Predictor

    def show(progress: float, case: str) -> None:
        on_event({"event": "calibrating", "progress": progress, "case": case})

    chosen = evenly(names, _CALIBRATION_CASES)
    cases = [case for case in dataset.cases if case.name in chosen]
    predictor = Predictor.load(folder, device, recalibrated=False)
    try:
        calibrate(folder, predictor, dataset, cases, predictor.settings.posterior.samples, on_case=show)
    except NoStructureError as error:
        on_event({"event": "warning", "warnings": [f"not calibrated: {error}"]})


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
        if limits not in (None, PlanSettings()) and plan != _plan_again(run, dataset, limits):
            raise InputError(f"{path}: there is a plan already; remove it to plan anew with other limits")
    else:
        tested = set(splits.test)
        fingerprint = take_fingerprint(dataset, [case for case in dataset.cases if case.name not in tested])
        plan = make_plan(fingerprint, dataset, limits or PlanSettings())
        run.mkdir(parents=True, exist_ok=True)
        write_fingerprint(run / FINGERPRINT_FILE, fingerprint)
        write_plan(path, plan)
    run.mkdir(parents=True, exist_ok=True)
    write_splits(run / SPLITS_FILE, splits)
    content = {"version": _DATA_VERSION, "root": str(dataset.root.resolve()), "options": to_json(options)}
    write_json_atomic(run / DATA_FILE, content)
    return PreparedRun(dataset, splits, plan)


def _plan_again(run: Path, dataset: DataSet, limits: PlanSettings | None) -> Plan | None:
    """The plan that these limits give; a command that was killed may be given again as it was."""
    path = run / FINGERPRINT_FILE
    return make_plan(read_fingerprint(path), dataset, limits or PlanSettings()) if path.is_file() else None


def _prepared_run(data: Path, run: Path) -> PreparedRun:
    """What `prepare_run` left in `run`."""
    dataset = open_dataset(data, read_data_options(run / DATA_FILE))
    return PreparedRun(dataset, read_splits(run / SPLITS_FILE), read_plan(run / PLAN_FILE))


def make_settings(plan: Plan, preset: str, changes: dict[str, Any], plan_file: Path) -> RunSettings:
    """The preset's settings for `plan` with `changes`, and a budget if none is named.

    Raises:
        InputError: an unknown preset or field, an illegal value, several budgets, a model that cannot be
            built or does not fit the plan.
    """
    from ldseg.saved_model import build_segmenter, check_fit
    from ldseg.training.budget import make_budget

    if preset not in PRESETS:
        raise InputError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}")
    settings = with_changes(PRESETS[preset](plan), changes, "")
    if all(getattr(settings.training, name) is None for name in BUDGETS):
        settings = replace(settings, training=replace(settings.training, minutes=DEFAULT_MINUTES))
    make_budget(settings.training, steps_per_epoch=1)
    check_fit(plan, settings, build_segmenter(settings), plan_file)
    return settings


def _stored_settings(plan: Plan, run: Path) -> RunSettings:
    """Those that the run began with. Raises InputError: damaged, or no model for `plan`."""
    from ldseg.saved_model import build_segmenter, check_fit, read_settings

    settings = read_settings(run / "settings.json")
    check_fit(plan, settings, build_segmenter(settings), run / PLAN_FILE)
    return settings


def read_data_options(path: Path) -> DataOptions:
    """How a run reads its data, from its data.json. Raises InputError: missing, damaged, newer."""
    content = read_versioned(path, _DATA_VERSION, "remove it and give the options of reading again")
    return from_json(DataOptions, content.get("options", {}), str(path))


def describe_budget(settings: RunSettings) -> str:
    """The budget in words, e.g. "60 minutes"."""
    found = [(name, getattr(settings.training, name)) for name in BUDGETS]
    return ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in found if value is not None)


def _check_folder(folder: Path, resume: bool) -> None:
    """A training neither starts over another nor resumes from nothing."""
    trained = any((folder / name).exists() for name in _TRAINED)
    if trained and not resume:
        raise InputError(
            f"{folder}: holds a training already; continue it with --resume or choose another -o"
        )
    if resume and not trained:
        raise InputError(f"{folder}: holds no training to resume; leave out --resume to start one")


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
    if path.exists() and wanted != SplitOptions() and read_splits(path) != _new_splits(dataset, wanted):
        raise InputError(f"{path}: this run has its splits; remove the file to split anew")
    source = path if path.exists() else wanted.file
    if source is None:
        return _new_splits(dataset, wanted)
    splits = read_splits(source)
    known = {case.name for case in dataset.cases}
    named = [*splits.test, *(name for fold in splits.folds for name in (*fold.train, *fold.validation))]
    strange = sorted(set(named) - known)
    if strange:
        raise InputError(
            f"{source}: {strange[0]} is no case of {dataset.root}; split anew without it, or give its data"
        )
    return splits


def _new_splits(dataset: DataSet, wanted: SplitOptions) -> Splits:
    if wanted.file is not None:
        return read_splits(wanted.file)
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
