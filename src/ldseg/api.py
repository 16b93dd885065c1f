"""From a folder of cases to a trained and calibrated model in a run's folder.

To what preparation.py leaves there, training adds its own files (training/run.py) and

    RUN/calibration.json  how sure the model may be, fitted on validation cases when training has ended
    RUN/out_of_distribution.safetensors  what images of another kind are told by

Stands above training; the command line and Python users call it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.data.cases import DataOptions, DataSet
from ldseg.data.splits import evenly
from ldseg.data.unread import OnRemark, ignore_remark
from ldseg.errors import InputError, listed
from ldseg.planning.plan import Plan, PlanSettings
from ldseg.presets import PRESETS
from ldseg.runs.files import (
    CALIBRATION_FILE,
    OUT_OF_DISTRIBUTION_FILE,
    PLAN_FILE,
    SETTINGS_FILE,
    SPLITS_FILE,
    STATE_FILE,
)
from ldseg.runs.folder_lock import lock_folder
from ldseg.runs.run_setup import PreparedRun, SplitOptions, prepare_run, read_prepared, remarks_on_numbers
from ldseg.settings import RunSettings, TrainingSettings
from ldseg.utils.serialization import with_changes

if TYPE_CHECKING:
    from ldseg.training.trainer import TrainingResult
    from ldseg.utils.distributed import DistributedContext

_TRAINED = (Path(SETTINGS_FILE), STATE_FILE.parent)
BUDGETS = ("steps", "minutes", "cpu_minutes", "epochs")
DEFAULT_MINUTES = 60.0
_CALIBRATION_CASES = 24
OnEvent = Callable[[dict[str, Any]], None]


def _silent(event: dict[str, Any]) -> None:
    del event


def plan_run(
    data: Path | str,
    run: Path | str,
    options: DataOptions | None = None,
    limits: PlanSettings | None = None,
    split: SplitOptions | None = None,
    on_remark: OnRemark = ignore_remark,
) -> Plan:
    """Look at the data and write the plan of a training into `run`.

    `on_remark` gets a sentence for what was passed over in the data.

    Raises:
        InputError: the data cannot be used, or `run` has a plan already.
    """
    path = Path(run) / PLAN_FILE
    if path.exists():
        raise InputError(f"{path}: there is a plan already; remove it to plan anew, or train with it")
    prepared = prepare_run(Path(data), Path(run), options, limits, split)
    for remark in prepared.dataset.remarks:
        on_remark(remark)
    return prepared.plan


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
    context: DistributedContext | None = None,
) -> TrainingResult:
    """Train on `data` into `run` and calibrate; plans and splits first where `run` has no plan and splits.

    `changes` go on top of the preset, nested as `RunSettings` is: {"training": {"minutes": 30}}. With
    `resume` the run continues with its own settings. `on_event` gets training's records (training/run.py),
    before them {"event": "settings", "run", "train", "validation", "test", "budget"} and {"event": "warning",
    "warnings"} where files were passed over, and after them {"event": "calibrating", "progress", "case"} for
    each case. `context` are the processes that train together
    (`ldseg.utils.distributed.distributed_context`); `run` and `data` must be
    the same files for all.

    Raises:
        InputError: the data or settings cannot be used, `run` holds a training already, none to resume, or
            another training is at work in it.
    """
    from ldseg.training.trainer import forget_unfinished, train
    from ldseg.utils.device import choose_device
    from ldseg.utils.distributed import SINGLE_PROCESS

    folder, context = Path(run), context or SINGLE_PROCESS

    def prepare() -> PreparedRun:
        _check_folder(folder, resume)
        choose_device(device)  # a device that is not here is no reason to prepare all cases first
        if not resume:
            _check_changes(preset, changes or {})
        if resume and changes:
            given = ", ".join(changes)
            raise InputError(f"{folder}: a resumed training keeps its settings; leave out what sets {given}")
        use.enter_context(lock_folder(folder, "training"))
        _check_folder(folder, resume)  # again: another may have been at work until now
        forget_unfinished(folder)
        return prepare_run(Path(data), folder, options, limits, split)

    def settle() -> RunSettings:
        if resume:
            return _stored_settings(prepared.plan, folder)
        return make_settings(prepared.plan, preset, changes or {}, folder / PLAN_FILE)

    with ExitStack() as use:
        prepared = context.rank_zero_first(prepare, lambda: read_prepared(Path(data), folder))
        settings = context.run_on_all_ranks(settle)
        on_event(_beginning(prepared, settings, folder))
        remarks = [*prepared.dataset.remarks, *remarks_on_numbers(folder)]
        if remarks:
            on_event({"event": "warning", "warnings": remarks})
        _tell_unused(prepared, folder, on_event)
        dataset, plan, splits = prepared.dataset, prepared.plan, prepared.splits
        result = train(dataset, plan, splits, settings, folder, resume, on_event, device, context)
        part = splits.part(settings.training.fold)
        unseen = sorted(set(part.validation) - set(part.train))
        if settings.training.calibrate and not result.interrupted:
            of_team = context.device_name(device)
            seen = sorted({*part.train, *part.validation})

            def missing(file: str) -> bool:
                return not (result.already and (folder / file).is_file())

            if missing(CALIBRATION_FILE):
                context.on_rank_zero(lambda: _calibrate(dataset, unseen, folder, of_team, on_event))
            if missing(OUT_OF_DISTRIBUTION_FILE):
                context.on_rank_zero(lambda: _learn_images(dataset, seen, folder, of_team, on_event))
        return result


def _beginning(prepared: PreparedRun, settings: RunSettings, folder: Path) -> dict[str, Any]:
    """The event that names the run, its cases and its budget."""
    part = prepared.splits.part(settings.training.fold)
    return {
        "event": "settings",
        "run": str(folder),
        "train": len(part.train),
        "validation": len(part.validation),
        "test": len(prepared.splits.test),
        "budget": describe_budget(settings),
    }


def _tell_unused(prepared: PreparedRun, folder: Path, on_event: OnEvent) -> None:
    """Say which cases of the data are in no part of the splits, e.g. those that were added later."""
    splits = prepared.splits
    known = {*splits.test, *(name for fold in splits.folds for name in (*fold.train, *fold.validation))}
    unused = [case.name for case in prepared.dataset.cases if case.name not in known]
    if unused:
        text = (
            f"{len(unused)} cases are not in {folder / SPLITS_FILE} and are not used: {listed(unused)}; "
            "train in another folder with -o to use them"
        )
        on_event({"event": "warning", "warnings": [text]})


def _calibrate(
    dataset: DataSet, names: Sequence[str], folder: Path, device: str | None, on_event: OnEvent
) -> None:
    """Fit the trained model's confidence on at most `_CALIBRATION_CASES` cases of `names`, evenly spaced."""
    from ldseg.evaluation.calibration_fit import NoStructureError, calibrate
    from ldseg.inference.predictor import Predictor

    def show(progress: float, case: str) -> None:
        on_event({"event": "calibrating", "progress": progress, "case": case})

    if not names:
        return
    chosen = evenly(names, _CALIBRATION_CASES)
    cases = [case for case in dataset.cases if case.name in chosen]
    predictor = Predictor.load(folder, device, calibrated=False)
    try:
        calibrate(folder, predictor, dataset, cases, predictor.settings.posterior.samples, on_case=show)
    except NoStructureError as error:
        on_event({"event": "warning", "warnings": [f"not calibrated: {error}"]})


def _learn_images(
    dataset: DataSet, names: Sequence[str], folder: Path, device: str | None, on_event: OnEvent
) -> None:
    """Store with the trained model by what images of another kind than `names` are told."""
    from ldseg.evaluation.out_of_distribution_fit import fit_and_store_detector
    from ldseg.inference.predictor import Predictor

    def show(progress: float, case: str) -> None:
        on_event({"event": "encoding", "progress": progress, "case": case})

    cases = [case for case in dataset.cases if case.name in set(names)]
    predictor = Predictor.load(folder, device, calibrated=False)
    fit_and_store_detector(folder, predictor, dataset, cases, show)


@dataclass(frozen=True)
class _Budgeted:
    """The part of the settings that no plan is needed for."""

    training: TrainingSettings = field(default_factory=TrainingSettings)


def _check_changes(preset: str, changes: dict[str, Any]) -> None:
    """Refuse what needs no plan to be refused, before anything is read or written.

    Raises:
        InputError: as `make_settings`.
    """
    from ldseg.training.budget import make_budget

    if preset not in PRESETS:
        raise InputError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}")
    given = {name: value for name, value in changes.items() if name == "training"}
    training = with_changes(_Budgeted(), given, "").training
    if any(getattr(training, name) is not None for name in BUDGETS):
        make_budget(training, steps_per_epoch=1)


def make_settings(plan: Plan, preset: str, changes: dict[str, Any], plan_file: Path) -> RunSettings:
    """The preset's settings for `plan` with `changes`, and a budget if none is named.

    Raises:
        InputError: an unknown preset or field, an illegal value, several budgets, a model that cannot be
            built or does not fit the plan.
    """
    from ldseg.runs.saved_model import build_segmenter, check_fit
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
    from ldseg.runs.saved_model import build_segmenter, check_fit, read_settings

    settings = read_settings(run / SETTINGS_FILE)
    check_fit(plan, settings, build_segmenter(settings), run / PLAN_FILE)
    return settings


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
