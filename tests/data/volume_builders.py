"""Small volumes and files for the tests of the data package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from ldseg.data.formats import write_volume
from ldseg.data.volume import Axes, Kind, Volume

SHAPES: dict[Axes, tuple[int, ...]] = {"yx": (5, 7), "zyx": (4, 5, 7), "tyx": (3, 5, 7)}


def rotation(dimensions: int, seed: int = 0) -> np.ndarray:
    """A random orthonormal matrix."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dimensions, dimensions)))
    return matrix


def volume(
    axes: Axes = "zyx",
    kind: Kind = "labels",
    channels: int = 1,
    seed: int = 0,
    shape: tuple[int, ...] | None = None,
) -> Volume:
    """Random voxels on an oblique grid: ids 0 to 3, or whole numbers 0 to 250."""
    rng = np.random.default_rng(seed)
    shape = shape or SHAPES[axes]
    size = len(shape)
    array = rng.integers(0, 4 if kind == "labels" else 251, (channels, *shape))
    direction = np.eye(size)
    plane = 3 if axes == "zyx" else 2
    direction[:plane, :plane] = rotation(plane, seed)
    return Volume(
        array.astype(np.uint8 if kind == "labels" else np.float32),
        tuple(float(step) for step in rng.uniform(0.3, 4.0, size)),
        tuple(float(value) for value in rng.normal(0, 90, size)),
        tuple(float(value) for value in direction.ravel()),
        axes,
        kind,
    )


def plain(axes: Axes = "yx", kind: Kind = "labels", channels: int = 1, seed: int = 0) -> Volume:
    """As `volume`, with unit spacing at the origin: what formats without geometry hold."""
    given = volume(axes, kind, channels, seed)
    size = len(given.shape)
    return Volume(given.array, (1.0,) * size, (0.0,) * size, tuple(np.eye(size).ravel().tolist()), axes, kind)


def save_image(path: Path, array: np.ndarray | None = None) -> Path:
    """An image file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8) if array is None else np.asarray(array)
    Image.fromarray(pixels).save(path)
    return path


def mask(path: Path, ids: tuple[int, ...] = (0, 1)) -> Path:
    """A 6 x 8 mask whose columns go through `ids`."""
    row = [ids[n % len(ids)] for n in range(8)]
    return save_image(path, np.array([row] * 6, dtype=np.uint8))


def save_volume(path: Path, given: Volume) -> Path:
    """Write with our own writer; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, given)
    return path


def write_json(path: Path, content: object) -> Path:
    """A JSON file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
