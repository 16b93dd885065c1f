"""Messages about models that are used before their training has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ldseg.app.cli.output import note


def report_unfinished(models: Sequence[Path | str]) -> None:
    """Print on stderr which models were not trained to their end, and which runs lack trained folds.

    Raises:
        InputError: a model is neither a folder nor a shipped one, or its splits are damaged.
    """
    from ldseg.inference.ensemble_files import member_folders
    from ldseg.training.checkpoint import read_counters
    from ldseg.zoo.catalogue import find_model

    for folder in map(find_model, models):
        members = member_folders(folder)
        for member in members:
            counters = read_counters(member)
            if counters is not None and not counters.finished:
                run = member if member == folder or member.parent != folder else folder
                end = f"end it with ldseg train DATA -o {run} --resume"
                note(f"{member}: its training has not ended (step {counters.step}); {end}")
        _report_missing_folds(folder, members)


def _report_missing_folds(folder: Path, members: Sequence[Path]) -> None:
    """Print how many folds of a run predict, where some have no weights yet."""
    from ldseg.data.splits import read_splits
    from ldseg.runs.files import SPLITS_FILE
    from ldseg.runs.folds import fold_folders

    if not fold_folders(folder) or not (folder / SPLITS_FILE).is_file():
        return
    folds = len(read_splits(folder / SPLITS_FILE).folds)
    if len(members) < folds:
        end = f"train them with ldseg train DATA -o {folder} --resume"
        note(f"{folder}: {len(members)} of {folds} folds predict, the others are not trained; {end}")
