"""Folders of the folds of a cross-validation.

RUN/plan.json splits.json data.json     one plan and one split for all folds
    cache/                              preprocessed cases, shared by the folds
    fold_0/ fold_1/ ...                 a run's folder each, trained without its fold's validation cases
"""

from __future__ import annotations

from pathlib import Path

from ldseg.errors import InputError
from ldseg.planning.plan import read_plan
from ldseg.runs.files import (
    BEST_FOLDER,
    DATA_FILE,
    FINGERPRINT_FILE,
    FOLD_PREFIX,
    PLAN_FILE,
    SETTINGS_FILE,
    SPLITS_FILE,
    WEIGHTS_FILE,
)
from ldseg.utils.serialization import write_bytes_atomic


def is_run(folder: Path) -> bool:
    """Return whether `folder` is that of a training, and not one of predictions."""
    return (folder / SPLITS_FILE).is_file() and (folder / DATA_FILE).is_file()


def fold_folder(run: Path, fold: int) -> Path:
    """Return the folder of one fold of a run, which need not exist."""
    return run / f"{FOLD_PREFIX}{fold}"


def fold_folders(run: Path) -> list[Path]:
    """Return the folders of the trained folds of a run, ascending; empty for a run without folds.

    A fold is trained when it has weights, if only those of an interrupted training.
    """
    return [folder for folder in begun_folds(run) if (folder / WEIGHTS_FILE).is_file()]


def begun_folds(run: Path) -> list[Path]:
    """Return the folders of the folds whose training has begun, ascending."""
    numbers = [
        int(path.name.removeprefix(FOLD_PREFIX))
        for path in run.glob(f"{FOLD_PREFIX}*")
        if path.name.removeprefix(FOLD_PREFIX).isdecimal() and (path / SETTINGS_FILE).is_file()
    ]
    return [fold_folder(run, number) for number in sorted(numbers)]


def set_up_fold(run: Path, fold: int) -> None:
    """Copy the files that describe the run's data, split and plan into the folder of one of its folds.

    Raises:
        InputError: the disk refuses.
    """
    for name in (DATA_FILE, SPLITS_FILE, FINGERPRINT_FILE, PLAN_FILE):
        if (run / name).is_file():
            write_bytes_atomic(fold_folder(run, fold) / name, (run / name).read_bytes())


def refuse_changed_plan(run: Path) -> None:
    """Raise InputError if the plan of `run` is not the one that its training or its folds began with."""
    for folder in (run / BEST_FOLDER, *begun_folds(run)):
        if (folder / PLAN_FILE).is_file() and read_plan(folder / PLAN_FILE) != read_plan(run / PLAN_FILE):
            raise InputError(
                f"{run / PLAN_FILE}: has changed since the training began; copy it from {folder}, or train "
                "with the other plan in another folder"
            )
