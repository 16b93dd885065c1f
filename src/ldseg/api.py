"""Plan and train: from a folder of cases to a trained and calibrated model in a run's folder.

`runs/files.py` names the files that appear there. The command line and Python users call this module.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from ldseg.data.cases import DataOptions
from ldseg.data.file_names import find_path
from ldseg.data.formats import read_volume
from ldseg.data.sidecar_spacing import spacing_of, spacing_per_axis
from ldseg.data.split_extension import split_names
from ldseg.data.splits import Fold
from ldseg.data.subject_hint import subject_hint
from ldseg.data.unread import OnRemark, ignore_remark
from ldseg.data.volume import Axes, Volume
from ldseg.errors import InputError, listed
from ldseg.planning.adoption import PlanChoice
from ldseg.planning.plan import Plan, PlanSettings
from ldseg.presets import with_preset_limits
from ldseg.runs.files import CACHE_FOLDER, LOCK_FILE, PLAN_FILE, SETTINGS_FILE, SPLITS_FILE, STATE_FILE
from ldseg.runs.folder_lock import lock_folder
from ldseg.runs.folds import begun_folds, fold_folder, refuse_changed_plan, set_up_fold
from ldseg.runs.run_setup import (
    PreparedRun,
    SplitOptions,
    intensity_remarks,
    open_changed_run,
    prepare_run,
    read_prepared,
    write_changed_run,
)
from ldseg.settings import RunSettings
from ldseg.training.budget_settings import describe_budget
from ldseg.training.request import TrainingRequest, check_changes, check_folder, plan_adoption, start_of
from ldseg.training.run_settings import (
    check_training,
    make_settings,
    settings_from_source,
    stored_settings,
)

if TYPE_CHECKING:
    from ldseg.runs.source import Source
    from ldseg.training.trainer import TrainingResult
    from ldseg.utils.distributed import DistributedContext

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
        them, or a spacing.csv beside it; `physical` is False if neither does.

    Raises:
        InputError: the file is missing, damaged, or has other axes.
    """
    path = find_path(Path(path))
    volume, steps = read_volume(path, "image", axes), spacing_of(path)
    return volume if steps is None else volume.with_spacing(spacing_per_axis(steps, volume.axes, path))


def plan_run(
    data: Path | str,
    run: Path | str,
    options: DataOptions | None = None,
    limits: PlanSettings | None = None,
    split: SplitOptions | None = None,
    on_remark: OnRemark = ignore_remark,
    preset: str | None = None,
) -> Plan:
    """Plan a training: analyze the data set and write `plan.json` into the run's folder.

    Args:
        data: a data set of any layout that ldseg reads.
        run: folder of the run; created if missing.
        options: how the data set is read, e.g. its axes and channels.
        limits: what the plan must keep to, e.g. spacing in mm or memory in GB.
        split: how the cases are split into training, validation and test.
        on_remark: called with a sentence for everything in the data that is skipped.
        preset: the preset to train: "paper" scales images otherwise; None takes the default.

    Returns:
        The plan: spacing (mm, or voxels without a physical size), patch size (voxels), strides, channels.

    Raises:
        InputError: the data cannot be used, or the run has a plan already.
    """
    path = Path(run) / PLAN_FILE
    if path.exists():
        raise InputError(f"{path}: there is a plan already; remove it to plan anew, or train with it")
    check_training(preset, {})
    prepared = prepare_run(Path(data), Path(run), options, with_preset_limits(limits, preset), split)
    for remark in prepared.dataset.remarks:
        on_remark(remark)
    subjects = subject_hint(prepared.dataset.cases)
    if subjects is not None:
        on_remark(subjects)
    return prepared.plan


def train_run(
    data: Path | str,
    run: Path | str,
    preset: str | None = None,
    changes: dict[str, Any] | None = None,
    options: DataOptions | None = None,
    limits: PlanSettings | None = None,
    split: SplitOptions | None = None,
    resume: bool = False,
    device: str | None = None,
    on_event: OnEvent = ignore_event,
    context: DistributedContext | None = None,
    folds: int | None = None,
    continue_training: bool = False,
    source: Path | str | None = None,
    source_plan: PlanChoice = "new",
    allow_code: bool = False,
) -> TrainingResult:
    """Train a model on a data set and calibrate it; plan and split first if the run has no plan and splits.

    Args:
        data: as for `plan_run`.
        options: as for `plan_run`.
        limits: as for `plan_run`.
        split: as for `plan_run`.
        run: folder of the run, into which the model is written.
        preset: "default" or "paper"; None takes the default.
        changes: settings that replace those of the preset, e.g. `{"training": {"minutes": 30}}`.
        resume: go on with the interrupted training in `run`, with its own settings, to the end of its budget.
        device: "cpu", "cuda" or "mps", None for the fastest.
        on_event: called with each event, a dict with "event" ("settings", "losses", "validation" ...).
        context: the processes that train together (`ldseg.utils.distributed`), on the same files.
        folds: number of folds of a cross-validation, trained into `run`/fold_0 ...; None trains one model.
        continue_training: go on with the training in `run` with the budget in `changes` on top of what is
            left of its own, on the data as they are now. Plan, model and the parts of the split stay.
        source: name of a shipped model, or folder of a trained one, whose weights the training begins with as
            far as they fit (`ldseg.training.transfer`); None begins from nothing.
        source_plan: "source" takes spacing, patch, batch and strides of the source's plan, "new" plans them
            for the data; widths are the source's.
        allow_code: run the code outside of ldseg that the settings name as package.module:NAME.

    Returns:
        The run's folder, the number of steps and the mean foreground Dice of the last validation; of several
        folds all steps and the mean Dice.

    Raises:
        InputError: unusable data or settings; a training in `run` already, none to go on with, or one at
            work; data that have changed since an interrupted training began.
    """
    from ldseg.utils.distributed import SINGLE_PROCESS

    context, given = context or SINGLE_PROCESS, changes or {}
    start = context.run_on_all_ranks(partial(start_of, Path(run), resume, continue_training))
    asked = TrainingRequest(
        *(Path(data), Path(run), start, preset, given, options, limits, split, folds, source, source_plan),
        allow_code,
    )
    return _train(asked, device, on_event, context)


def _train(
    asked: TrainingRequest, device: str | None, on_event: OnEvent, context: DistributedContext
) -> TrainingResult:
    """Train the model that was asked for, or its folds one after the other."""
    from ldseg.training.trainer import TrainingResult

    results: list[TrainingResult] = []
    with ExitStack() as lock:
        prepared = context.rank_zero_first(
            lambda: _prepare(asked, device, on_event, lock), lambda: read_prepared(asked.data, asked.run)
        )
        begun = context.run_on_all_ranks(lambda: begun_folds(asked.run))
        if asked.folds is None and not begun:
            return _train_one(asked, asked.run, None, prepared, device, on_event, context)
        for fold in range(len(prepared.splits.folds)):
            folder = fold_folder(asked.run, fold)
            results.append(_train_one(asked, folder, fold, prepared, device, on_event, context))
            if results[-1].interrupted:
                break
    dice = [one.dice for one in results if one.dice is not None]
    return TrainingResult(
        asked.run,
        sum(one.steps for one in results),
        mean(dice) if dice else None,
        results[-1].interrupted,
        all(one.already for one in results),
    )


def _prepare(asked: TrainingRequest, device: str | None, on_event: OnEvent, lock: ExitStack) -> PreparedRun:
    """Check what was asked for, lock the folder, and plan and split, or see how the data have changed."""
    from ldseg.runs.source import find_source, write_source
    from ldseg.training.checkpoint import remove_partial_files
    from ldseg.training.continuation import begin_continuation, finish_continuation, plan_continuation
    from ldseg.utils.device import choose_device

    folder = asked.run
    if (folder / LOCK_FILE).exists():  # that another process is at work comes before what it has written
        with lock_folder(folder, "training"):
            pass
    check_folder(asked)
    choose_device(device)  # fails before all cases are preprocessed
    check_changes(asked)
    lock.enter_context(lock_folder(folder, "training"))
    check_folder(asked)  # again: another process may have been at work
    for one in (folder, *begun_folds(folder)):
        remove_partial_files(one)
    finish_continuation(folder)  # of a process that was killed in between
    if asked.start != "new":
        refuse_changed_plan(folder)
    if asked.start != "continue":
        split, fold = asked.split or SplitOptions(), asked.changes.get("training", {}).get("fold", "all")
        split = replace(split, fold=fold, folds=split.folds if asked.folds is None else asked.folds)
        kept = (folder / PLAN_FILE).exists() and asked.limits in (None, PlanSettings())
        limits = None if kept else with_preset_limits(asked.limits, asked.preset)
        adopt = plan_adoption(asked)
        prepared = prepare_run(asked.data, folder, asked.options, limits, split, adopt)
        if asked.start == "resume":
            _refuse_changed_data(prepared, folder)
        else:
            write_source(folder, None if asked.source is None else find_source(asked.source))
        return prepared
    prepared = open_changed_run(asked.data, folder, asked.options)
    continuation = plan_continuation(prepared, folder, asked.changes.get("training", {}))
    begin_continuation(folder, continuation)
    on_event({"event": "continued", "changes": continuation.changes.sentences()})
    return write_changed_run(replace(prepared, splits=continuation.splits), folder)


def _refuse_changed_data(prepared: PreparedRun, run: Path) -> None:
    """Raise InputError if files have changed since a training began that is not finished."""
    from ldseg.training.continuation import find_changes
    from ldseg.training.trainer import finished_training

    folders = begun_folds(run) or [run]
    if len(folders) in (1, len(prepared.splits.folds)) and all(map(finished_training, folders)):
        return
    changed = find_changes(prepared, run).changed
    if changed:
        raise InputError(
            f"{run}: {len(changed)} cases have changed since the training began ({listed(changed)}); restore "
            "them, or go on with them as they are now with --continue"
        )


def _train_one(
    asked: TrainingRequest,
    folder: Path,
    fold: int | None,
    prepared: PreparedRun,
    device: str | None,
    on_event: OnEvent,
    context: DistributedContext,
) -> TrainingResult:
    """Train one model into `folder`, that of the run or of its fold `fold`, and calibrate it."""
    from ldseg.evaluation.after_training import calibrate_trained
    from ldseg.training.trainer import train

    begun = context.run_on_all_ranks(lambda: (folder / SETTINGS_FILE).is_file())
    settings = context.run_on_all_ranks(lambda: _settings_of(asked, folder, fold, prepared.plan))
    if fold is not None:
        context.on_rank_zero(lambda: set_up_fold(asked.run, fold))
    _report_beginning(asked, prepared, settings, folder, fold, on_event)
    dataset, plan, splits, cache = prepared.dataset, prepared.plan, prepared.splits, asked.run / CACHE_FOLDER
    resume = begun or (asked.start != "new" and fold is None)
    source = context.run_on_all_ranks(lambda: _source_of(asked.run, folder))
    result = train(dataset, plan, splits, settings, folder, resume, on_event, device, context, cache, source)
    if settings.training.calibrate and not result.interrupted:
        part = splits.part(settings.training.fold)
        calibrate_trained(dataset, part, result, context, device, on_event)
    return result


def _source_of(run: Path, folder: Path) -> Source | None:
    """Return the model that the training in `folder` begins with, None if it has begun or has no source."""
    from ldseg.runs.source import read_source
    from ldseg.training.trainer import finished_training

    begun = (folder / STATE_FILE).is_file() or finished_training(folder) is not None
    return None if begun else read_source(run)


def _settings_of(asked: TrainingRequest, folder: Path, fold: int | None, plan: Plan) -> RunSettings:
    """Return the stored settings of a training that has begun, else those that were asked for. A fold that
    has not begun takes those of the others."""
    from ldseg.runs.source import find_source

    plan_file, allow_code = asked.run / PLAN_FILE, asked.allow_code
    if asked.start == "new" and asked.source is not None:
        settings = settings_from_source(
            plan,
            find_source(asked.source),
            asked.source_plan,
            asked.preset,
            asked.changes,
            plan_file,
            allow_code,
        )
    elif asked.start == "new":
        settings = make_settings(plan, asked.preset or "default", asked.changes, plan_file, allow_code)
    else:
        begun = fold is None or (folder / SETTINGS_FILE).is_file()
        settings = stored_settings(plan, folder if begun else begun_folds(asked.run)[0], allow_code)
    return settings if fold is None else replace(settings, training=replace(settings.training, fold=fold))


def _seen_by_source(asked: TrainingRequest, prepared: PreparedRun, part: Fold | None) -> list[str]:
    """Return a remark where the model that a training begins with was trained on cases that are to be held
    out, those of `part` or of all folds."""
    from ldseg.runs.source import find_source

    if asked.start != "new" or asked.source is None:
        return []
    folds = prepared.splits.folds if part is None else (part,)
    held_out = {*prepared.splits.test, *(name for fold in folds for name in fold.unseen)}
    source = find_source(asked.source)
    seen = sorted(held_out & source.seen())
    if not seen:
        return []
    remedy = f"take its split with --splits {source.folder / SPLITS_FILE}"
    remedy = "begin with a model of other images" if part is None else remedy
    return [
        f"{source.name} was trained on {len(seen)} of the {len(held_out)} cases that validate and test, if "
        f"names tell ({listed(seen, 3)}): scores on them are better than on new images; {remedy}"
    ]


def _report_beginning(
    asked: TrainingRequest,
    prepared: PreparedRun,
    settings: RunSettings,
    folder: Path,
    fold: int | None,
    on_event: OnEvent,
) -> None:
    """Report the run, its numbers of cases and its budget, then warn of what is odd about the data."""
    part = prepared.splits.part(settings.training.fold)
    on_event(
        {
            "event": "settings",
            "run": str(folder),
            "fold": fold,
            "folds": None if fold is None else len(prepared.splits.folds),
            "train": len(part.train),
            "validation": len(part.validation),
            "test": len(prepared.splits.test),
            "budget": describe_budget(settings.training),
        }
    )
    if fold:  # the first has said it
        return
    remarks = [*prepared.dataset.remarks, *intensity_remarks(folder)]
    if part.validation and not part.unseen:
        remarks.append(
            "validation cases are trained on as well: validation Dice says nothing of new images, and "
            "confidence is not calibrated"
        )
    remarks += _seen_by_source(asked, prepared, part if fold is None else None)
    subjects = subject_hint(prepared.dataset.cases)
    if subjects is not None and asked.start == "new" and (asked.split is None or asked.split.file is None):
        remarks.append(subjects)
    if settings.preset == "paper" and any(one.scheme != "unit" for one in prepared.plan.channels):
        remarks.append(
            "the plan does not scale images to 0..1, as the paper preset does; plan with --preset paper"
        )
    if remarks:
        on_event({"event": "warning", "warnings": remarks})
    known = split_names(prepared.splits)
    unused = [case.name for case in prepared.dataset.cases if case.name not in known]
    if unused:
        text = (
            f"{len(unused)} cases are not in {folder / SPLITS_FILE} and are not used: {listed(unused)}; "
            "--continue uses those that were added, another -o all"
        )
        on_event({"event": "warning", "warnings": [text]})
