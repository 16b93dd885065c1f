"""One input of the suite, by kind and number: a data set of two cases, one image or mask of it damaged."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from hostile_folders import model_change, table_change
from hostile_pictures import PICTURES
from hostile_volumes import VOLUMES
from mutations import BYTES, NAMES, PATHS
from sound_files import KINDS, Kind

from ldseg.data.formats import read_volume, write_volume

HOSTILE: dict[str, list[Callable[[Path], None]]] = {**VOLUMES, **PICTURES}
"""Crafted files by kind."""


@dataclass(frozen=True)
class Input:
    """What the commands are given."""

    kind: str
    number: int
    damage: str
    """What was done, in words."""
    root: Path
    """For ldseg check."""
    target: Path
    """For ldseg predict."""
    model: Path
    """To predict with."""


FOLDERS = ("model", "tables")
"""What is damaged beside images."""


def make_input(name: str, number: int, folder: Path, models: Path) -> Input:
    """Write it into the empty `folder`. The same name and number give the same bytes."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    if name in FOLDERS:
        return _with_folder(name, number, rng, folder, models)
    return _with_file(name, number, rng, folder, models)


def _with_folder(name: str, number: int, rng: np.random.Generator, folder: Path, models: Path) -> Input:
    """Sound pictures, with a damaged table or for a damaged model."""
    kind = KINDS["png"]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for case in "ab":
        kind.write(folder / "images" / f"{case}.png", 0)
        _write_mask(kind, 0, folder / "masks" / f"{case}.png", folder / "sound")
    model = folder / "model"
    shutil.copytree(models / kind.axes, model)
    damage, change = (model_change if name == "model" else table_change)(number, rng)
    change(model if name == "model" else folder)
    target = folder / "images" / "a.png" if name == "model" else folder
    return Input(name, number, damage, folder, target, model if name == "model" else models / kind.axes)


def _with_file(name: str, number: int, rng: np.random.Generator, folder: Path, models: Path) -> Input:
    """One image or mask of a set is damaged."""
    kind = KINDS[name]
    stem, damage, change = _chosen(name, number, rng)
    images, masks = folder / "images", folder / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    ending = kind.ending
    as_mask = kind.may_be_mask and number % 4 == 3 and stem == "b"
    for name_of_case, variant in (("a", number), (stem, number + 1)):
        _write_image(kind, variant, images / f"{name_of_case}{ending}")
        own = ".ome" if ending.startswith(".ome") else ""  # is part of the case's name
        mask = masks / f"{name_of_case}{ending if as_mask else own + _mask_ending(kind)}"
        _write_mask(kind, variant, mask, folder / "sound")
    target = (masks if as_mask else images) / f"{stem}{ending}"
    change(_within(target, rng))
    damage += " as mask" if as_mask else ""
    return Input(name, number, damage, folder, target, models / kind.axes)


def _write_image(kind: Kind, variant: int, path: Path) -> None:
    """A sound file of any name: ITK takes not all of them, so it is made under another."""
    made = path.with_name(f"made{kind.ending}")
    kind.write(made, variant)
    if path.name.startswith(("a.", "b.")) and path.suffix == ".mhd":
        for part in path.parent.glob("made.*"):
            part.unlink()
        kind.write(path, variant)
    else:
        made.rename(path)


def _chosen(name: str, number: int, rng: np.random.Generator) -> tuple[str, str, Callable[[Path], None]]:
    """The file's stem, what is done to it in words, and what does it. Special ones come once, then bytes."""
    if number < len(PATHS):
        words, become = list(PATHS.items())[number]
        return "b", words, lambda path: _replaced(path, become)
    number -= len(PATHS)
    if number < len(NAMES):
        return NAMES[number], f"the name {NAMES[number]!r}", _left
    number -= len(NAMES)
    hostile = HOSTILE[name]
    if number < len(hostile):
        return "b", f"crafted {number}", lambda path: _replaced(path, hostile[number])
    words = list(BYTES)[int(rng.integers(len(BYTES)))]
    return "b", words, lambda path: _mutated(path, words, rng)


def _left(path: Path) -> None:
    """As it is."""
    del path


def _within(target: Path, rng: np.random.Generator) -> Path:
    """The file to damage: of a pair or a folder any, else the file itself."""
    if target.is_dir():
        return target
    parts = [target, *sorted(target.parent.glob("b.*raw"))]
    return parts[int(rng.integers(len(parts)))]


def _mutated(path: Path, words: str, rng: np.random.Generator) -> None:
    if path.is_dir():
        files = sorted(path.iterdir())
        path = files[int(rng.integers(len(files)))]
    path.write_bytes(BYTES[words](path.read_bytes(), rng))


def _replaced(path: Path, become: Callable[[Path], None]) -> None:
    """Something else of that name."""
    if path.is_dir():
        for inner in path.iterdir():
            inner.unlink()
        path.rmdir()
    else:
        path.unlink()
    become(path)


def _mask_ending(kind: Kind) -> str:
    return ".png" if kind.axes == "yx" else ".nii.gz"


def _write_mask(kind: Kind, variant: int, mask: Path, aside: Path) -> None:
    """Ids 0 and 1 on the grid of the image that is this variant, of which a copy goes `aside`."""
    aside.mkdir(exist_ok=True)
    image = aside / f"{variant}{kind.ending}"
    kind.write(image, variant)
    volume = read_volume(image, "image", kind.axes)
    ids = (volume.array[:1] > np.median(volume.array)).astype(np.uint8)
    write_volume(mask, replace(volume.with_array(ids, "labels"), native=None))
