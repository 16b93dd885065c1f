"""The models that inputs are predicted with: small and untrained."""

from __future__ import annotations

from pathlib import Path

from tiny_models import make_tiny_model

_PATCHES = {"yx": 128, "zyx": 16}


def make_models(folder: Path) -> None:
    """One model for each kind of axes, in a folder of that name."""
    folder.mkdir(parents=True, exist_ok=True)
    for axes, patch in _PATCHES.items():
        make_tiny_model(folder, axes, patch=patch).rename(folder / axes)
