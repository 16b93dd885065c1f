"""The model whose weights a training begins with: found by name or folder, and noted in the run's folder.

RUN/source.json names it, so that folds that have not begun, or a training that was killed before its first
checkpoint, begin with the same weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ldseg.data.splits import read_splits
from ldseg.errors import InputError, file_error
from ldseg.planning.plan import Plan, read_plan
from ldseg.runs.files import (
    BEST_FOLDER,
    FOLD_PREFIX,
    PLAN_FILE,
    SETTINGS_FILE,
    SOURCE_FILE,
    SPLITS_FILE,
    WEIGHTS_FILE,
)
from ldseg.runs.folds import fold_folders
from ldseg.runs.saved_model import read_settings, refuse_export
from ldseg.settings import RunSettings
from ldseg.utils.serialization import from_json, read_versioned, write_json_atomic
from ldseg.zoo.catalogue import find_model, is_shipped

_VERSION = 1


@dataclass(frozen=True)
class Source:
    """A trained model to begin with."""

    model: str
    """Name of a shipped model, or the path of a folder."""
    sha256: str
    """Of its weights."""

    @property
    def folder(self) -> Path:
        """Return the model's folder. Raises InputError if it is not there any more."""
        return find_model(self.model)

    @property
    def name(self) -> str:
        """Return a name for messages and the card, without the folders above the model's; the name of a fold
        or of the best weights has its run's before it."""
        path = Path(self.model)
        part_of_run = path.name == BEST_FOLDER or path.name.startswith(FOLD_PREFIX)
        return str(Path(path.parent.name, path.name)) if part_of_run else path.name

    def plan(self) -> Plan:
        """Return the plan of the model. Raises InputError: missing or damaged."""
        return read_plan(self.folder / PLAN_FILE)

    def seen(self) -> set[str]:
        """Return the names of the cases that the model was trained on; empty where nothing says which.

        Raises:
            InputError: its splits or settings are damaged.
        """
        path = self.folder / SPLITS_FILE
        return set(read_splits(path).part(self.settings().training.fold).train) if path.is_file() else set()

    def settings(self) -> RunSettings:
        """Return the settings of the model. Raises InputError: missing or damaged."""
        return read_settings(self.folder / SETTINGS_FILE)


def find_source(model: Path | str) -> Source:
    """Return the model of this name or folder.

    Raises:
        InputError: there is none, or the folder holds several folds.
    """
    folder = find_model(model)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        folds = fold_folders(folder)
        if folds:
            raise file_error(folder, "is a training in folds", f"choose one, e.g. {folds[0]}")
        refuse_export(folder)
        raise file_error(weights, "there is no such file", "finish the training, or copy the whole folder")
    name = folder.name if is_shipped(folder) else str(folder.resolve())
    return Source(name, hashlib.sha256(weights.read_bytes()).hexdigest())


def write_source(run: Path, source: Source | None) -> None:
    """Note the source of a training in its folder; None removes an older note. Raises InputError if the disk
    refuses."""
    if source is None:
        (run / SOURCE_FILE).unlink(missing_ok=True)
    else:
        write_json_atomic(run / SOURCE_FILE, {"version": _VERSION, **vars(source)})


def read_source(run: Path) -> Source | None:
    """Return the source that is noted in a run's folder, None if there is none.

    Raises:
        InputError: the note is damaged, or the model is gone or has other weights by now.
    """
    path = run / SOURCE_FILE
    if not path.is_file():
        return None
    content = read_versioned(path, _VERSION, "begin the training again in another folder")
    source = from_json(Source, content, str(path))
    if find_source(source.model) != source:
        raise InputError(
            f"{path}: {source.model} has other weights than when the training began; restore them, or begin "
            "again in another folder"
        )
    return source
