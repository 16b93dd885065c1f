"""Spacings that stand in a table beside images whose format has none (HC18's `pixel_size_mm.csv`)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ldseg.data.faults import file_error
from ldseg.data.tables import read_spacings
from ldseg.data.volumes import Axes


def spacing_of(image: Path, *folders: Path) -> tuple[float, ...] | None:
    """What the tables say of `image`; they lie in `folders`, beside the image or one folder above it."""
    for folder in (*folders, image.parent, image.parent.parent):
        found = _table(folder).get(image.name)
        if found is not None:
            return found
    return None


def expand(steps: tuple[float, ...], axes: Axes, source: Path) -> tuple[float, ...]:
    """One number for all axes of space (time stays 1.0), or one number per axis. Else InputError."""
    if len(steps) == 1:
        return tuple(1.0 if axis == "t" else steps[0] for axis in axes)
    if len(steps) != len(axes):
        finding = f"has a spacing of {len(steps)} numbers for the axes {axes}"
        raise file_error(source, finding, f"give one number or {len(axes)}, in the order {axes}")
    return steps


def _table(folder: Path) -> dict[str, tuple[float, ...]]:
    """The folder's table, read once as long as nothing in the folder's list of files changes."""
    try:
        changed = folder.stat().st_mtime_ns
    except OSError:
        return {}
    return _read(folder, changed)


@lru_cache(maxsize=16)
def _read(folder: Path, changed: int) -> dict[str, tuple[float, ...]]:
    del changed  # only part of the key
    return read_spacings(folder)
