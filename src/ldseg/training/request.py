"""A training as it was asked for, and what is refused before anything is read or written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ldseg.data.cases import DataOptions
from ldseg.data.splits import read_splits
from ldseg.errors import InputError
from ldseg.planning.adoption import PlanChoice, adopt_plan
from ldseg.planning.plan import PlanSettings
from ldseg.runs.files import PLAN_FILE, SETTINGS_FILE, SPLITS_FILE, STATE_FILE
from ldseg.runs.folds import begun_folds
from ldseg.runs.run_setup import Adopt, SplitOptions
from ldseg.training.run_settings import check_training

Start = Literal["new", "resume", "continue"]


@dataclass(frozen=True)
class TrainingRequest:
    """The arguments of `ldseg.api.train_run`, which says what they mean."""

    data: Path
    run: Path
    start: Start
    preset: str | None
    changes: dict[str, Any]
    options: DataOptions | None
    limits: PlanSettings | None
    split: SplitOptions | None
    folds: int | None
    source: Path | str | None
    source_plan: PlanChoice
    allow_code: bool


def start_of(run: Path, resume: bool, continue_training: bool) -> Start:
    """Return how a training starts. Raises InputError if both ways to go on are asked for."""
    if resume and continue_training:
        raise InputError(
            f"{run}: --resume ends an interrupted training, --continue goes on with more; give one of them"
        )
    return "resume" if resume else "continue" if continue_training else "new"


def check_changes(asked: TrainingRequest) -> None:
    """Raise InputError for illegal preset, changes and budget, before anything is read or written."""
    changes, training = asked.changes, asked.changes.get("training", {})
    if asked.folds is not None and "fold" in training:
        raise InputError("--folds trains every fold; leave out --fold, or --folds")
    if asked.start != "new" and (asked.source is not None or asked.source_plan != "new"):
        raise InputError(f"{asked.run}: a training that goes on has its weights; leave out --from and --plan")
    if asked.source is None and asked.source_plan != "new":
        raise InputError("--plan source needs a model to take the plan from; give one with --from")
    if asked.start != "new":
        allowed = ("training",) if asked.start == "continue" else ()
        given = [*(["preset"] if asked.preset else []), *(name for name in changes if name not in allowed)]
        if given:
            keeps = {
                "resume": "resumed training keeps its settings",
                "continue": "continued training keeps its model",
            }
            raise InputError(f"{asked.run}: a {keeps[asked.start]}; leave out what sets {', '.join(given)}")
        return
    check_training(asked.preset, changes)


def check_folder(asked: TrainingRequest) -> None:
    """Raise InputError for a training over another one, or going on with none, or with other folds."""
    folder, start = asked.run, asked.start
    folds = begun_folds(folder)
    alone = (folder / SETTINGS_FILE).exists() or (folder / STATE_FILE.parent).exists()
    if (alone or folds) and start == "new":
        raise InputError(
            f"{folder}: holds a training already; end it with --resume, go on for longer with --continue, or "
            "choose another -o"
        )
    if not (alone or folds) and start != "new":
        raise InputError(f"{folder}: holds no training to {start}; leave out --{start} to start one")
    if alone and asked.folds is not None:
        raise InputError(f"{folder}: holds a training without folds; leave out --folds, or choose another -o")
    if folds and asked.folds is not None:
        stored = len(read_splits(folder / SPLITS_FILE).folds)
        if asked.folds != stored:
            raise InputError(f"{folder}: has {stored} folds; give --folds {stored}, or choose another -o")


def plan_adoption(asked: TrainingRequest) -> Adopt | None:
    """Return how a new plan is changed to that of the source, None without a source.

    Raises:
        InputError: there is no such source, or its plan is asked for where there is one already or against
            limits of the plan.
    """
    from ldseg.runs.source import find_source

    if asked.start != "new" or asked.source is None:
        return None
    source = find_source(asked.source)
    if asked.source_plan == "source":
        if (asked.run / PLAN_FILE).exists():
            raise InputError(f"{asked.run / PLAN_FILE}: there is a plan already; remove it, or --plan source")
        limits = asked.limits or PlanSettings()
        if limits.spacing or limits.patch:
            raise InputError("--plan source takes spacing and patch of the source; leave out --planning.*")
        if limits.batch:
            raise InputError("--plan source takes the batch of the source; give another as --training.batch")
    plan = source.plan()
    return lambda fingerprint, own: adopt_plan(own, fingerprint, plan, asked.source_plan, source.name)
