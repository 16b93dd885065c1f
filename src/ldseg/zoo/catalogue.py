"""Catalogue of the shipped models: names, folders and facts.

models/NAME/   a trained model (weights in half precision), calibration.json, and
    about.json   the facts of `About`
    card.md      the same and more, for people
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ldseg.errors import InputError
from ldseg.utils.serialization import from_json, read_versioned

MODELS = Path(__file__).parent / "models"
ABOUT_FILE = "about.json"
ABOUT_VERSION = 1


@dataclass(frozen=True)
class About:
    """Summary of a shipped model."""

    title: str
    image: str
    """Input, e.g. "3D MR, T1-weighted"."""
    structures: tuple[str, ...]
    data: str
    """Training data."""
    mean_dice: float
    """Mean over structures and test cases."""
    test_cases: int
    licence: str
    """SPDX identifier of the licence of the weights."""


def shipped() -> dict[str, Path]:
    """Return the folder of each shipped model by name."""
    folders = MODELS.iterdir() if MODELS.is_dir() else ()
    return {folder.name: folder for folder in sorted(folders) if (folder / ABOUT_FILE).is_file()}


def is_shipped(folder: Path) -> bool:
    """Return whether `folder` is a model that came with the package, which nothing may be written into."""
    return folder.resolve().parent == MODELS.resolve()


def by_name(text: str) -> str:
    """Return a message that calls shipped models by the names that users know, not by where they are
    installed."""
    return text.replace(f"{MODELS}{os.sep}", "")


def read_about(folder: Path) -> About:
    """Return the summary of the model in `folder`. Raises InputError: missing or damaged."""
    path = folder / ABOUT_FILE
    return from_json(About, read_versioned(path, ABOUT_VERSION, "install ldseg again"), str(path))


def find_model(model: Path | str) -> Path:
    """Return the folder `model`, or the folder of the shipped model of this name.

    Raises:
        InputError: it is neither.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    found = shipped()
    if str(model) in found:
        return found[str(model)]
    names = ", ".join(found) or "none"
    raise InputError(
        f"{model}: there is no such folder, nor a shipped model of this name ({names}); "
        "give the folder that `ldseg train` wrote"
    )
