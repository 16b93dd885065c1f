"""Runs to report on: a small untrained model, its data, its splits and a log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldseg.data.formats import write_volume
from ldseg.data.volume import Volume

MakeModel = Callable[..., Path]
MakeRun = Callable[..., Path]
MakeData = Callable[..., Path]

CASES = ("a", "b", "c", "d", "e", "f")
TEST, VALIDATION, TRAIN = CASES[:3], CASES[3:4], CASES[4:]
SHAPES = {"yx": (20, 16), "zyx": (12, 16, 20), "tyx": (3, 16, 16)}


def write_data(root: Path, axes: str, channels: int = 1) -> None:
    """Six cases; structures with the ids 2 and 5 that grow from case to case, the last without any."""
    shape, ending = SHAPES[axes], ".png" if axes == "yx" else ".nii.gz"
    for number, name in enumerate(CASES):
        rng = np.random.default_rng(number)
        labels = np.zeros((1, *shape), np.uint8)
        if name != CASES[2]:
            labels[..., 3 : 8 + number, 2:6] = 2
            labels[..., 4:9, 8 : 10 + number] = 5
        image = np.repeat(30.0 * labels, channels, axis=0) + rng.integers(0, 60, (channels, *shape))
        common: dict[str, Any] = {
            "spacing": (1.0,) * len(shape),
            "origin": (0.0,) * len(shape),
            "direction": tuple(np.eye(len(shape)).ravel()),
            "axes": axes,
        }
        for folder, array, kind in (("images", image, "image"), ("labels", labels, "labels")):
            (root / folder).mkdir(parents=True, exist_ok=True)
            stored = array.astype(np.uint8 if axes == "yx" or kind == "labels" else np.float32)
            write_volume(root / folder / f"{name}{ending}", Volume(stored, kind=kind, **common))


def write_log(run: Path) -> None:
    """Ten lines of losses and two of validations, the last with a warning."""
    lines: list[dict[str, Any]] = [
        {"event": "losses", "step": step, "losses": {"segmentation": 2 / step, "latent": 1 / step}}
        for step in range(10, 101, 10)
    ]
    for step, dice in ((50, 0.4), (100, 0.6)):
        one = {"step": step, "dice": dice, "class_dice": [dice, dice], "shuffled_dice": 0.2, "ceiling": 0.9}
        lines.append({"event": "validation", **one, "warnings": ["the image is hardly used"]})
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def make_data(tmp_path: Path) -> MakeData:
    """make_data(axes, channels) -> the folder `data` with images and masks."""

    def make(axes: str = "yx", channels: int = 1) -> Path:
        write_data(tmp_path / "data", axes, channels)
        return tmp_path / "data"

    return make


@pytest.fixture
def make_run(make_data: MakeData, make_model: MakeModel) -> MakeRun:
    """make_run(axes, baseline, channels) -> the folder of a run whose data are in `data` beside it."""

    def make(axes: str = "yx", baseline: str = "none", channels: int = 1) -> Path:
        run, data = make_model(axes, baseline, "default", channels), make_data(axes, channels)
        splits = {
            "version": 1,
            "seed": 0,
            "test": TEST,
            "folds": [{"train": TRAIN, "validation": VALIDATION}] * 2,
        }
        (run / "splits.json").write_text(json.dumps(splits))
        content = {"version": 1, "root": str(data), "options": {"axes": axes}}
        (run / "data.json").write_text(json.dumps(content))
        write_log(run)
        return run

    return make
