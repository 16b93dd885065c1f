"""Spacings from files beside images whose format stores none.

They come from a table (HC18's `pixel_size_mm.csv`), or from a file for each image as nnU-Net writes them:
`NAME.json` with {"spacing": [z, y, x]} for the image `NAME_0000.tif` and the mask `NAME.tif`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from ldseg.data.file_names import find_path, name_key
from ldseg.data.formats import format_of, stem
from ldseg.data.sidecar_metadata import SPACING_TABLES, read_json, read_spacings
from ldseg.data.volume import Axes
from ldseg.errors import file_error

_FLAT = 999
_CHANNEL = re.compile(r"_\d{4}$")


def spacing_of_files(files: Sequence[Path], *folders: Path) -> tuple[float, ...] | None:
    """Return the spacing given in files beside an image, whose channels may be several files.

    Raises InputError if the channels' spacings differ.
    """
    found = {file: spacing_of(file, *folders) for file in files}
    first, *others = found.values()
    for file, other in zip(files[1:], others, strict=True):
        if other not in (first, None) and first is not None:
            finding = f"has the spacing {_shown(other)} beside it, but {files[0].name} has {_shown(first)}"
            raise file_error(file, finding, "all channels of an image need one grid: correct the spacing")
    return first if first is not None else next((steps for steps in others if steps is not None), None)


def spacing_of(image: Path, *folders: Path) -> tuple[float, ...] | None:
    """Return the spacing of `image` from a table in `folders`, beside the image or one folder above it.

    A table may name it without its ending or, for a mask without geometry, name its image. If no table
    has an entry, the image's own JSON file counts, for formats without geometry. Raises InputError for a
    damaged file.
    """
    flat = not format_of(image).has_geometry
    for folder in (*folders, image.parent, image.parent.parent):
        table = _table(folder)
        found = table.get(name_key(image.name))
        if found is None and flat:
            found = table.get(name_key(stem(image)))
        if found is not None:
            return found
    return _sidecar(image) if flat else None


def refuse_other_spacing(image: Path, steps: tuple[float, ...] | None, masks: Sequence[Path]) -> None:
    """Raise InputError for a mask whose JSON file gives a spacing different from that of its image."""
    for mask in masks:
        own = None if format_of(mask).has_geometry else _sidecar(mask)
        if own is None or steps is None or len(own) != len(steps):
            continue
        if not all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(own, steps, strict=True)):
            finding = (
                f"has the spacing {_shown(own)} beside it, but its image {image.name} has {_shown(steps)}"
            )
            raise file_error(mask, finding, "correct the wrong one")


def spacing_per_axis(steps: tuple[float, ...], axes: Axes, source: Path) -> tuple[float, ...]:
    """Return one step per axis, from one number for all spatial axes (time stays 1.0) or one per axis.

    nnU-Net gives its 2D images a first axis of one slice, 999 thick.
    """
    if axes == "yx" and len(steps) == 3 and steps[0] == _FLAT:
        return steps[1:]
    if len(steps) == 1:
        return tuple(1.0 if axis == "t" else steps[0] for axis in axes)
    if len(steps) != len(axes):
        finding = f"has a spacing of {len(steps)} numbers for the axes {axes}"
        raise file_error(source, finding, f"give one number or {len(axes)}, in the order {axes}")
    return steps


def _table(folder: Path) -> dict[str, tuple[float, ...]]:
    """Return the folder's spacing table, cached as long as its file has the same size and time."""
    for name in SPACING_TABLES:
        try:
            facts = (folder / name).stat()
        except OSError:
            continue
        return _read(folder, (facts.st_mtime_ns, facts.st_size))
    return {}


@lru_cache(maxsize=16)
def _read(folder: Path, changed: tuple[int, int]) -> dict[str, tuple[float, ...]]:
    del changed  # only part of the key
    found = {name_key(name): steps for name, steps in read_spacings(folder).items()}
    bare: dict[str, set[tuple[float, ...]]] = {}
    for name, steps in found.items():
        bare.setdefault(Path(name).stem, set()).add(steps)
    # Files whose names differ in the ending only and whose spacings differ need their whole names.
    return {name: next(iter(steps)) for name, steps in bare.items() if len(steps) == 1} | found


def _sidecar(image: Path) -> tuple[float, ...] | None:
    """Return the spacing in the image's own JSON file, named with or without channel number, or None."""
    name = stem(image)
    for own in dict.fromkeys((name, _CHANNEL.sub("", name))):
        path = find_path(image.parent / f"{own}.json")
        if not path.is_file():
            continue
        content = read_json(path)
        if isinstance(content, dict) and "spacing" in content:
            return _steps(content["spacing"], path)
    return None


def _steps(entry: object, path: Path) -> tuple[float, ...]:
    """Return a JSON entry of one to three positive numbers as a spacing. Raises InputError otherwise."""
    steps = entry if isinstance(entry, list) else [entry]
    numbers = tuple(
        float(step) for step in steps if isinstance(step, int | float) and not isinstance(step, bool)
    )
    if len(numbers) != len(steps) or len(steps) not in (1, 2, 3):
        numbers = ()
    if not numbers or not all(math.isfinite(step) and step > 0 for step in numbers):
        raise file_error(
            path, f'"spacing" is {entry!r}', 'write mm, slowest axis first: {"spacing": [3.0, 0.7, 0.7]}'
        )
    return numbers


def _shown(steps: tuple[float, ...]) -> str:
    return " x ".join(f"{step:g}" for step in steps)
