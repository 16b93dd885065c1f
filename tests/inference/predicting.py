"""Images to predict, and predictions to compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ldseg.data.volume import Volume
from ldseg.inference.base_predictor import Prediction
from ldseg.inference.predictor import Predictor


def image(axes: str, shape: tuple[int, ...], seed: int = 0, channels: int = 1) -> Volume:
    d = len(shape)
    array = np.random.default_rng(seed).normal(size=(channels, *shape)).astype(np.float32)
    return Volume(array, (1.0,) * d, (0.0,) * d, tuple(np.eye(d).ravel().tolist()), axes, "image")  # type: ignore[arg-type]


def loaded(folder: Path) -> Predictor:
    return Predictor.load(folder, "cpu")


def same(a: Prediction, b: Prediction) -> bool:
    return np.array_equal(a.probabilities.array, b.probabilities.array)
