"""Plan and train: from a folder of cases to a trained and calibrated model in a run's folder.

`runs/files.py` names the files that appear there. The command line and Python users call this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.data.cases import DataOptions, DataSet
from ldseg.data.formats import read_volume
from ldseg.data.splits import Fold, evenly_spaced
from ldseg.data.unread import OnRemark, ignore_remark
from ldseg.data.volume import Axes, Volume
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
from ldseg.runs.run_setup import PreparedRun, SplitOptions, intensity_remarks, prepare_run, read_prepared
from ldseg.settings import RunSettings, TrainingSettings
from ldseg.utils.serialization import with_changes

if TYPE_CHECKING:
    from ldseg.training.trainer import TrainingResult
    from ldseg.utils.distributed import DistributedContext

BUDGETS = ("steps", "minutes", "cpu_minutes", "epochs")
DEFAULT_MINUTES = 60.0
_CALIBRATION_CASES = 24
OnEvent = Callable[[dict[str, Any]], None]


def ignore_event(event: dict[str, Any]) -> None:
    """Do nothing with an event of the training."""
    del event


def read_image(path: Path | str, axes: Axes | None = None) -> Volume:
    """Read an image file, or a folder with the files of one DICOM series.

    Args:
        path: a file of any format that ldseg reads, or a DICOM folder.
        axes: "yx", "zyx" or "tyx"; None takes what the file looks like.

    Returns:
        A volume whose array is float32 (channels, *axes), with spacing and origin in mm as the file states
        them; `physical` is False if it states none.

    Raises:
        InputError: the file is missing, damaged, or has other axes.
    """
    return read_volume(Path(path), "image", axes)


def plan_run(
    data: Path | str,
    run: Path | str,
    options: DataOptions | None = None,
    limits: PlanSettings | None = None,
    split: SplitOptions | None = None,
    on_remark: OnRemark = ignore_remark,
) -> Plan:
    """Plan a training: analyze the data set and write `plan.json` into the run's folder.

    Args:
        data: a data set of any layout that ldseg reads.
        run: folder of the run; created if missing.
        options: how the data set is read, e.g. its axes and channels.
        limits: what the plan must keep to, e.g. spacing in mm or memory in GB.
        split: how the cases are split into training, validation and test.
        on_remark: called with a sentence for everything in the data that is skipped.

    Returns:
        The plan: spacing (mm, or voxels without a physical size), patch size (voxels), strides, channels.

    Raises:
        InputError: the data cannot be used, or the run has a plan already.
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
    on_event: OnEvent = ignore_event,
    context: DistributedContext | None = None,
) -> TrainingResult:
    """Train a model on a data set and calibrate it; plan and split first if the run has no plan and splits.

    Args:
        data, options, limits, split: as for `plan_run`.
        run: folder of the run, into which the model is written.
        preset: "default" or "paper".
        changes: settings that replace those of the preset, e.g. `{"training": {"minutes": 30}}`.
        resume: continue the training in `run` with its own settings.
        device: "cpu", "cuda" or "mps", None for the fastest.
        on_event: called with each event, a dict with "event" ("settings", "losses", "validation" ...).
        context: the processes that train together (`ldseg.utils.distributed`), on the same files.

    Returns:
        The run's folder, the number of steps and the mean foreground Dice of the last validation.

    Raises:
        InputError: unusable data or settings; a training in `run` already, none to resume, or one at work.
    """
    from ldseg.training.trainer import remove_partial_files, train
    from ldseg.utils.device import choose_device
    from ldseg.utils.distributed import SINGLE_PROCESS

    folder, context, changes = Path(run), context or SINGLE_PROCESS, changes or {}

    def prepare() -> PreparedRun:
        _check_folder(folder, resume)
        choose_device(device)  # fails before all cases are preprocessed
        _check_changes(folder, preset, changes, resume)
        lock.enter_context(lock_folder(folder, "training"))
        _check_folder(folder, resume)  # again: another process may have been at work
        remove_partial_files(folder)
        return prepare_run(Path(data), folder, options, limits, split)

    def make_run_settings() -> RunSettings:
        stored = _stored_settings(prepared.plan, folder) if resume else None
        return stored or make_settings(prepared.plan, preset, changes, folder / PLAN_FILE)

    with ExitStack() as lock:
        prepared = context.rank_zero_first(prepare, lambda: read_prepared(Path(data), folder))
        settings = context.run_on_all_ranks(make_run_settings)
        _report_beginning(prepared, settings, folder, on_event)
        dataset, plan, splits = prepared.dataset, prepared.plan, prepared.splits
        result = train(dataset, plan, splits, settings, folder, resume, on_event, device, context)
        if settings.training.calibrate and not result.interrupted:
            part = splits.part(settings.training.fold)
            _calibrate_on_rank_zero(dataset, part, result, context, device, on_event)
        return result


def _report_beginning(prepared: PreparedRun, settings: RunSettings, folder: Path, on_event: OnEvent) -> None:
    """Report the run, its numbers of cases and its budget, then warn of what is odd about the data."""
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
    remarks = [*prepared.dataset.remarks, *intensity_remarks(folder)]
    if remarks:
        on_event({"event": "warning", "warnings": remarks})
    splits = prepared.splits
    known = {*splits.test, *(name for fold in splits.folds for name in (*fold.train, *fold.validation))}
    unused = [case.name for case in prepared.dataset.cases if case.name not in known]
    if unused:
        text = (
            f"{len(unused)} cases are not in {folder / SPLITS_FILE} and are not used: {listed(unused)}; "
            "train in another folder with -o to use them"
        )
        on_event({"event": "warning", "warnings": [text]})


def _calibrate_on_rank_zero(
    dataset: DataSet,
    part: Fold,
    result: TrainingResult,
    context: DistributedContext,
    device: str | None,
    on_event: OnEvent,
) -> None:
    """Fit and store confidence and out-of-distribution detector, unless a finished training has them."""
    folder, device = result.folder, context.device_name(device)
    unseen = sorted(set(part.validation) - set(part.train))
    seen = sorted({*part.train, *part.validation})
    if not (result.already and (folder / CALIBRATION_FILE).is_file()):
        context.on_rank_zero(lambda: _calibrate(dataset, unseen, folder, device, on_event))
    if not (result.already and (folder / OUT_OF_DISTRIBUTION_FILE).is_file()):
        context.on_rank_zero(lambda: _fit_detector(dataset, seen, folder, device, on_event))


def _calibrate(
    dataset: DataSet, names: Sequence[str], folder: Path, device: str | None, on_event: OnEvent
) -> None:
    """Fit the model's confidence on at most `_CALIBRATION_CASES` cases of `names`, evenly spaced."""
    from ldseg.evaluation.calibration_fit import NoStructureError, calibrate
    from ldseg.inference.predictor import Predictor

    def show(progress: float, case: str) -> None:
        on_event({"event": "calibrating", "progress": progress, "case": case})

    if not names:
        return
    chosen = evenly_spaced(names, _CALIBRATION_CASES)
    cases = [case for case in dataset.cases if case.name in chosen]
    predictor = Predictor.load(folder, device, calibrated=False)
    try:
        calibrate(folder, predictor, dataset, cases, predictor.settings.posterior.samples, on_case=show)
    except NoStructureError as error:
        on_event({"event": "warning", "warnings": [f"not calibrated: {error}"]})


def _fit_detector(
    dataset: DataSet, names: Sequence[str], folder: Path, device: str | None, on_event: OnEvent
) -> None:
    """Fit and store the out-of-distribution detector on the images of the cases `names`."""
    from ldseg.evaluation.out_of_distribution_fit import fit_and_store_detector
    from ldseg.inference.predictor import Predictor

    def show(progress: float, case: str) -> None:
        on_event({"event": "encoding", "progress": progress, "case": case})

    cases = [case for case in dataset.cases if case.name in set(names)]
    predictor = Predictor.load(folder, device, calibrated=False)
    fit_and_store_detector(folder, predictor, dataset, cases, show)


@dataclass(frozen=True)
class _Budgeted:
    """The part of the settings that can be checked without a plan."""

    training: TrainingSettings = field(default_factory=TrainingSettings)


def _check_changes(folder: Path, preset: str, changes: dict[str, Any], resume: bool) -> None:
    """Raise InputError for illegal preset, changes and budget, before anything is read or written."""
    from ldseg.training.budget import make_budget

    if resume:
        if changes:
            given = ", ".join(changes)
            raise InputError(f"{folder}: a resumed training keeps its settings; leave out what sets {given}")
        return
    if preset not in PRESETS:
        raise InputError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}")
    given = {name: value for name, value in changes.items() if name == "training"}
    training = with_changes(_Budgeted(), given, "").training
    if any(getattr(training, name) is not None for name in BUDGETS):
        make_budget(training, steps_per_epoch=1)


def make_settings(plan: Plan, preset: str, changes: dict[str, Any], plan_file: Path) -> RunSettings:
    """Return the preset's settings for `plan` with `changes`, and with the default budget if none is given.

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
    """Return the settings that the run began with. Raises InputError: damaged, or they do not fit `plan`."""
    from ldseg.runs.saved_model import build_segmenter, check_fit, read_settings

    settings = read_settings(run / SETTINGS_FILE)
    check_fit(plan, settings, build_segmenter(settings), run / PLAN_FILE)
    return settings


def describe_budget(settings: RunSettings) -> str:
    """Return the budget in words, e.g. "60 minutes"."""
    found = [(name, getattr(settings.training, name)) for name in BUDGETS]
    return ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in found if value is not None)


def _check_folder(folder: Path, resume: bool) -> None:
    """Raise InputError for a training over another one, or a resumption of none."""
    trained = (folder / SETTINGS_FILE).exists() or (folder / STATE_FILE.parent).exists()
    if trained and not resume:
        raise InputError(
            f"{folder}: holds a training already; continue it with --resume or choose another -o"
        )
    if resume and not trained:
        raise InputError(f"{folder}: holds no training to resume; leave out --resume to start one")
