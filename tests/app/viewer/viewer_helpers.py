"""Images of each kind, and the types of what makes viewers of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ldseg.app.viewer.server import ViewerServer
from ldseg.app.viewer.session import Session
from ldseg.data.volume import Volume

MakeModel = Callable[..., Path]
MakeSession = Callable[..., Session]
Serve = Callable[..., ViewerServer]
SHAPES = {"yx": (20, 24), "zyx": (9, 12, 15), "tyx": (5, 18, 14)}


def an_image(axes: str, channels: int = 1) -> Volume:
    """Noise in an odd shape with unequal steps."""
    shape = SHAPES[axes]
    array = np.random.default_rng(0).normal(size=(channels, *shape)).astype(np.float32)
    spacing = {"yx": (1.5, 1.0), "zyx": (2.0, 1.0, 1.5), "tyx": (0.04, 1.0, 1.0)}[axes]
    direction = tuple(np.eye(len(shape)).ravel().tolist())
    return Volume(array, spacing, (0.0,) * len(shape), direction, axes, "image")  # type: ignore[arg-type]
