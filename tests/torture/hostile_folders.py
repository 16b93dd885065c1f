"""What comes beside images: the folder of a model from a stranger, and the tables of a data set."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mutations import BYTES, PATHS

Change = Callable[[Path], None]
"""Done to a folder."""
MARK = "somebody-was-here"
"""A file that would be there if code of a model had run."""
_VALUES: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 7, 2**16, 2**31, 10**12, 10**400, 1.5, -0.0, 1e308, 1e-320),
    *("", "x", "../../../x", "\ud800", "\0", "A" * 10_000, "__import__('os').system('id')", None, True),
    *([], {}, [[]], [1e308] * 3, {"a": {"b": []}}, list(range(10_000))),
)
_MODEL_FILES = ("settings.json", "plan.json", "model.safetensors")


class _Runs:
    """Unpickled, it leaves the mark."""

    def __init__(self, folder: Path) -> None:
        self.mark = folder / MARK

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def _pickled(name: str, folder: Path) -> None:
    (folder / name).write_bytes(pickle.dumps(_Runs(folder)))


def _as_pt(name: str, folder: Path) -> None:
    import torch

    torch.save({"weight": _Runs(folder)}, folder / name)


def _safetensors(header: bytes, length: int | None, folder: Path) -> None:
    size = struct.pack("<Q", len(header) if length is None else length)
    (folder / "model.safetensors").write_bytes(size + header + bytes(64))


def _written(name: str, text: str, folder: Path) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def _path(name: str, become: Callable[[Path], None], folder: Path) -> None:
    (folder / name).unlink()
    become(folder / name)


def _not_finite(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    next(iter(weights.values())).flat[0] = np.nan
    save_file(weights, folder / "model.safetensors")


def _as_halves(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = {
        name: value.astype(np.float16) for name, value in load_file(folder / "model.safetensors").items()
    }
    save_file(weights, folder / "model.safetensors")


_TENSOR = '{"a": {"dtype": "F32", "shape": [%s], "data_offsets": [%s]}}'
_MODEL: list[Change] = [
    *(partial(_path, name, become) for name in _MODEL_FILES for become in PATHS.values()),
    *(
        partial(_pickled, name)
        for name in (
            *_MODEL_FILES,
            "calibration.json",
            "out_of_distribution.safetensors",
            "segments.json",
            "splits.json",
        )
    ),
    partial(_as_pt, "model.safetensors"),
    *(
        partial(_safetensors, header.encode(), length)
        for header, length in (
            ("{}", None),
            ("{}", 2**63),
            ("{}", 2**31),
            ("[" * 100_000, None),
            (_TENSOR % ("4, 4", "0, 64"), None),
            (_TENSOR % ("1000000, 1000000", "0, 64"), None),
            (_TENSOR % ("-4", "0, 16"), None),
            (_TENSOR % ("4", "64, 0"), None),
            (_TENSOR % ("4", "0, 999999999999"), None),
        )
    ),
    *(
        partial(_written, name, text)
        for name in ("settings.json", "plan.json", "calibration.json", "segments.json")
        for text in ("[" * 200_000, '{"version": ' + "9" * 4000 + "}", "{}", "[]", "null", '{"version": 1}')
    ),
    _not_finite,
    _as_halves,
]


def model_change(number: int, rng: np.random.Generator) -> tuple[str, Change]:
    """What is done to a model's folder, in words and as a function: the crafted ones first."""
    if number < len(_MODEL):
        return f"crafted {number}", _MODEL[number]
    if number % 3:
        return "a field", lambda folder: _field(folder / _MODEL_FILES[number % 2], rng)
    name = _MODEL_FILES[number // 3 % 3]
    words = list(BYTES)[int(rng.integers(len(BYTES)))]
    return f"{words} in {name}", lambda folder: _mutated(folder / name, words, rng)


_TABLES = {
    "dataset.json": json.dumps(
        {
            "channel_names": {"0": "grey"},
            "labels": {"background": 0, "thing": 1},
            "file_ending": ".png",
            "training": [{"image": f"images/{n}.png", "label": f"masks/{n}.png"} for n in "ab"],
            "test": [],
        }
    ),
    "cases.json": json.dumps(
        [{"image": f"images/{n}.png", "label": f"masks/{n}.png", "name": n} for n in "ab"]
    ),
    "cases.csv": "image,label,name,subject,spacing\n"
    "images/a.png,masks/a.png,a,1,0.5\nimages/b.png,masks/b.png,b,2,0.5\n",
    "images/spacing.csv": "name,y,x\na.png,0.5,0.5\nb.png,0.5,0.5\n",
}
_CELLS = (
    "../../../../etc/passwd",
    "/dev/zero",
    "nan",
    "-1",
    "1e400",
    "x" * 10_000,
    '"',
    "\0",
    "=cmd()",
    "images",
    "..",
)


def table_change(number: int, rng: np.random.Generator) -> tuple[str, Change]:
    """A table beside a sound set of pictures, and what is done to it."""
    name = list(_TABLES)[number % len(_TABLES)]

    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(_TABLES[name], encoding="utf-8")
        paths = list(PATHS.values())
        if number // len(_TABLES) < len(paths):
            _path(name, paths[number // len(_TABLES)], folder)
        elif number % 3 == 0 and path.suffix == ".json":
            _field(path, rng)
        elif number % 3 == 0:
            _cell(path, rng)
        else:
            _mutated(path, list(BYTES)[int(rng.integers(len(BYTES)))], rng)

    return name, change


def _field(path: Path, rng: np.random.Generator) -> None:
    """Another value for a field of a JSON file, or another name for it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    places = list(_places(content))
    for _ in range(int(rng.integers(1, 3))):
        inside, key = places[int(rng.integers(len(places)))]
        value = _VALUES[int(rng.integers(len(_VALUES)))]
        if isinstance(inside, dict) and rng.random() < 0.1:
            inside[str(value)[:50]] = inside.pop(key, None)
        else:
            inside[key] = value
    path.write_text(json.dumps(content), encoding="utf-8")


def _places(content: Any) -> Any:
    """Every (dict or list, key) in nested content."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(pairs):
        yield content, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def _cell(path: Path, rng: np.random.Generator) -> None:
    rows = [row.split(",") for row in path.read_text(encoding="utf-8").splitlines()]
    row = rows[int(rng.integers(len(rows)))]
    row[int(rng.integers(len(row)))] = _CELLS[int(rng.integers(len(_CELLS)))]
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8")


def _mutated(path: Path, words: str, rng: np.random.Generator) -> None:
    path.write_bytes(BYTES[words](path.read_bytes(), rng))
