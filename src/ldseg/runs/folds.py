"""Folders of the folds of a cross-validation.

RUN/plan.json splits.json data.json     one plan and one split for all folds
    cache/                              preprocessed cases, shared by the folds
    fold_0/ fold_1/ ...                 a run's folder each, trained without its fold's validation cases
"""

from __future__ import annotations

from pathlib import Path

from ldseg.runs.files import FOLD_PREFIX, SETTINGS_FILE, WEIGHTS_FILE


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
