"""Continue a training with a further budget, and with cases that were added, removed or changed.

RUN/continue.json is written first and holds all that is to be changed: the splits and the budget. The changes
are then made in the run's folder, or in those of its folds, and the file is removed. After a kill in between
they are made again from the file, which has the same result. From then on the run is one that was
interrupted at its last step, which resuming trains to the end of its new budget.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from ldseg.data.split_extension import DataChanges, changes_of, extend_splits, split_names
from ldseg.data.splits import Splits, write_splits
from ldseg.errors import InputError, file_error, listed
from ldseg.planning.fingerprint import read_fingerprint
from ldseg.preprocessing.cache import case_folder, changed_cases
from ldseg.runs.files import (
    CACHE_FOLDER,
    CALIBRATION_FILE,
    CONTINUATION_FILE,
    FINGERPRINT_FILE,
    OUT_OF_DISTRIBUTION_FILE,
    SETTINGS_FILE,
    SPLITS_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
)
from ldseg.runs.folds import begun_folds
from ldseg.runs.run_setup import PreparedRun
from ldseg.runs.saved_model import read_settings, write_settings
from ldseg.settings import TrainingSettings
from ldseg.training.budget_settings import BUDGETS, describe_budget, given_budget, with_default_budget
from ldseg.training.checkpoint import Counters, forget_best, read_counters, restart_counters
from ldseg.training.log_files import Record, append_record, read_records
from ldseg.utils.serialization import from_json, read_versioned, to_json, with_changes, write_json_atomic

_VERSION = 1
_FIXED = ("fold", "seed", "optimizer")
"""Training settings that a continued training keeps."""


@dataclass(frozen=True)
class Continuation:
    """The changes that continuing a training makes in its folder."""

    splits: Splits
    changes: DataChanges
    training: dict[str, TrainingSettings]
    """Name of a training's folder to its settings with a new budget; the others use up the one they have."""


def find_changes(prepared: PreparedRun, run: Path) -> DataChanges:
    """Return how the data differ from those that the training in `run` began with.

    Cases that were there when the run was planned, and that its splits do not name, were left out of it on
    purpose, unless they were gone when it was continued before. Which files have changed is known as long as
    `cache/` is there.
    """
    fingerprint = run / FINGERPRINT_FILE
    known = split_names(prepared.splits)
    records = (record for folder in begun_folds(run) or [run] for record in read_records(folder))
    gone = {name for one in records if one["event"] == "continued" for name in one.get("removed", ())}
    left_out = (
        {case.name for case in read_fingerprint(fingerprint).cases} - known - gone
        if fingerprint.is_file()
        else set[str]()
    )
    cases = [case for case in prepared.dataset.cases if case.name not in left_out]
    changed = changed_cases(cases, prepared.plan, run / CACHE_FOLDER)
    return changes_of(known, {case.name for case in cases}, changed)


def plan_continuation(prepared: PreparedRun, run: Path, changed_settings: dict[str, Any]) -> Continuation:
    """Return what continuing the training in `run` changes; `changed_settings` are those of `training`.

    Raises:
        InputError: there is no training to continue, its state is gone, a setting that it keeps is to be
            changed, no budget is left, or a part of the split would be empty.
    """
    folders = begun_folds(run) or [run]
    for folder in folders:
        _check_state(folder)
    fixed = [f"training.{name}" for name in changed_settings if name in _FIXED]
    if fixed:
        raise InputError(f"{run}: a continued training keeps {listed(fixed)}; leave that out")
    changes = find_changes(prepared, run)
    cases = prepared.dataset.cases
    left_out = {case.name for case in cases} - split_names(prepared.splits) - set(changes.added)
    splits = extend_splits(prepared.splits, cases, left_out)
    for folder in folders:
        part = splits.part(read_settings(folder / SETTINGS_FILE).training.fold)
        if not part.train:
            raise file_error(prepared.dataset.root, "has no case to train on any more", "add cases")
    if any(name in changed_settings for name in (*BUDGETS, "until_flat")):
        if len(folders) not in (1, len(splits.folds)) or (folders != [run] and len(folders) == 1):
            raise InputError(f"{run}: not all folds have begun; finish them with --resume first")
        training = {
            folder.name: _further_budget(folder, prepared.splits, changed_settings) for folder in folders
        }
    else:
        training = _no_further_budget(run, folders, changed_settings)
    return Continuation(splits, changes, training)


def _check_state(folder: Path) -> None:
    """Raise InputError unless the training in `folder` can go on."""
    if not (folder / SETTINGS_FILE).is_file():
        raise InputError(f"{folder}: holds no training to continue; leave out --continue to start one")
    path = folder / STATE_FILE
    if not path.is_file() and (folder / WEIGHTS_FILE).is_file():
        remedy = f"begin another one from its weights, with --from {folder} and another -o"
        raise file_error(path, "is not there any more, without which no training goes on", remedy)
    if path.is_file() and read_counters(folder) is None:
        raise file_error(path, "the training state is damaged", "train anew in an empty folder")


def _further_budget(folder: Path, splits: Splits, changed: dict[str, Any]) -> TrainingSettings:
    """Return the settings of a training with what is left of its budget and a further one.

    Raises:
        InputError: the budgets are of two kinds, or an illegal setting.
    """
    old = read_settings(folder / SETTINGS_FILE).training
    bare = replace(old, **dict.fromkeys(BUDGETS, None), until_flat=False)  # type: ignore[arg-type]
    settings = with_default_budget(with_changes(bare, changed, "training"))
    kind, further = given_budget(settings)
    counters = read_counters(folder)
    if counters is not None and counters.finished:
        return settings
    present, value = given_budget(old)
    if present != kind:
        raise InputError(
            f"{folder}: was interrupted on a budget of {describe_budget(old)}; give further {present}, or "
            "finish it first with --resume"
        )
    left = value if counters is None else value - _used(present, counters, old, splits)
    total = further + max(0.0, left)
    return replace(settings, **{kind: ceil(total) if kind in ("steps", "epochs") else total})  # type: ignore[arg-type]


def _used(kind: str, counters: Counters, settings: TrainingSettings, splits: Splits) -> float:
    """Return how much of a budget of this kind a training has used."""
    steps = counters.step - counters.first_step
    if kind == "steps":
        return steps
    if kind == "epochs":
        return steps / ceil(len(splits.part(settings.fold).train) / (settings.batch or 1))
    return (counters.spent - counters.first_spent) / 60


def _no_further_budget(
    run: Path, folders: list[Path], changed: dict[str, Any]
) -> dict[str, TrainingSettings]:
    """Return that no training gets another budget. Raises InputError if they have used up theirs."""
    counters = [read_counters(folder) for folder in folders]
    if all(one is not None and one.finished for one in counters):
        settings = read_settings(folders[0] / SETTINGS_FILE).training
        raise InputError(
            f"{run}: has used up its budget of {describe_budget(settings)}; say how much longer, e.g. "
            "--minutes 60"
        )
    if changed:
        names = listed([f"training.{name}" for name in changed])
        raise InputError(f"{run}: {names} changes with a further budget only; give one, e.g. --minutes 60")
    return {}


def begin_continuation(run: Path, continuation: Continuation) -> None:
    """Write what is to be changed in `run`, and change it. Raises InputError if the disk refuses."""
    write_json_atomic(run / CONTINUATION_FILE, {"version": _VERSION, **to_json(continuation)})
    finish_continuation(run)


def finish_continuation(run: Path) -> None:
    """Make the changes in `run` that a continued training has begun, if there are any.

    Raises:
        InputError: a file is damaged, or the disk refuses.
    """
    path = run / CONTINUATION_FILE
    if not path.is_file():
        return
    content = read_versioned(path, _VERSION, "remove it and continue the training again")
    continuation = from_json(Continuation, content, str(path))
    for folder in begun_folds(run) or [run]:
        _change_training(folder, continuation)
    for name in (*continuation.changes.changed, *continuation.changes.removed):
        shutil.rmtree(case_folder(run / CACHE_FOLDER, name), ignore_errors=True)
    write_splits(run / SPLITS_FILE, continuation.splits)
    path.unlink()


def _change_training(folder: Path, continuation: Continuation) -> None:
    """Change log, splits, settings and state of one training; its calibration is of other weights."""
    settings = read_settings(folder / SETTINGS_FILE)
    counters = read_counters(folder)
    training = continuation.training.get(folder.name)
    before = describe_budget(settings.training)
    record: Record = {
        "event": "continued",
        "step": 0 if counters is None else counters.step,
        "budget": f"the rest of {before}" if training is None else describe_budget(training),
        **to_json(continuation.changes),
    }
    last = next((one for one in reversed(read_records(folder)) if one["event"] == "continued"), {})
    if {**last, "before": ""} != {**record, "before": ""}:  # else it was written before a kill
        append_record(folder, {**record, "before": before})
    write_splits(folder / SPLITS_FILE, continuation.splits)
    if training is not None:
        write_settings(folder / SETTINGS_FILE, replace(settings, training=training))
        restart_counters(folder, keep_best=not continuation.changes)
    elif continuation.changes:
        forget_best(folder)
    for name in (CALIBRATION_FILE, OUT_OF_DISTRIBUTION_FILE):
        (folder / name).unlink(missing_ok=True)
