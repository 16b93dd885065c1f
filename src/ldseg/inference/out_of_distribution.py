"""Out-of-distribution detection: the distance of an image from the training images in the model's features.

For each level of the image encoder an image has a vector v: mean and log deviation of every channel
(`feature_statistics`). Of the training images the mean m, the deviations s and the covariance of
u = (v - m) / s are known, the latter as its first directions and one variance for all others. The distance of
a level is the root of the mean over all numbers of u^2 / variance (Mahalanobis 1936; for features of networks
Lee et al. 2018), in units of the median that training images have when they are left out of the fit. The
distance of the image is the mean over levels, divided by the largest of the training images that are left
out, so that beyond 1 an image is farther than all of training.

Images that are flipped, or whose intensities are inverted, lie near the others. Each such change has a line
between the training images (0) and the same images changed (1), by Fisher's discriminant, on which the slopes
count too. An image beyond the middle, and beyond all training images that are left out, is reported.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ldseg.errors import InputError
from ldseg.inference.feature_statistics import Statistics
from ldseg.preprocessing.deviations import DEVIATIONS, describe_deviations
from ldseg.runs.files import OUT_OF_DISTRIBUTION_FILE
from ldseg.utils.serialization import from_json, to_json, write_bytes_atomic

VERSION = 1
OTHER_KIND, INVERTED = "of another kind", "inverted"
"""Ways in which an image differs: it is farther from the training images than all of them, or nearer to the
same images inverted."""
_STEEPNESS = 4
_REMEDY = "remove it, or run `ldseg calibrate` again"

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class LevelReference:
    """The training images at one level, C channels; R directions."""

    mean: Vector
    """m (2C,)."""
    deviation: Vector
    """s (2C,)."""
    directions: NDArray[np.float16]
    """(R, 2C), of unit length."""
    variances: Vector
    """(R + 1,), along the directions; the last is that of all others."""
    unit: float
    """Median distance of training images that are left out."""

    def distance(self, statistics: NDArray[np.float64]) -> float:
        """Return the distance of statistics (2 + D, C), 1 for an ordinary training image."""
        u = (statistics[:2].ravel() - self.mean) / self.deviation
        along = self.directions.astype(np.float64) @ u
        rest = max(0.0, float(u @ u - along @ along))
        square = float((along**2 / self.variances[:-1]).sum()) + rest / float(self.variances[-1])
        return float(np.sqrt(square / len(u))) / self.unit


@dataclass(frozen=True)
class Change:
    """The line from the training images to the same images changed."""

    way: str
    """Name of an image beyond the limit, e.g. `INVERTED`."""
    slopes: tuple[int, ...]
    """Axes whose slopes are used."""
    weights: Vector
    """Fisher's discriminant, of `flattened` statistics."""
    start: float
    limit: float
    """The place beyond which an image is reported."""

    def place(self, statistics: Statistics) -> float:
        """Return an image's place on the line, about 0 for the training images and 1 for the same images
        changed."""
        return float(flattened(statistics, self.slopes) @ self.weights) - self.start


@dataclass(frozen=True)
class Difference:
    """The differences of an image from the training images."""

    distance: float
    """Distance in units of that of the farthest training image, left out of the fit."""
    ways: tuple[str, ...]
    """Empty if it is like them."""
    excess: float
    """Factor of at least 1 that grows with the distance."""

    def lowered(self, confidence: float) -> float:
        """Return the confidence that is left: divided by the fourth power of the excess."""
        return confidence / self.excess**_STEEPNESS


@dataclass(frozen=True)
class Detector:
    """Detects images out of distribution from statistics of the training images' features."""

    levels: tuple[LevelReference, ...]
    limit: float
    """Largest mean distance of training images that are left out."""
    changes: tuple[Change, ...]

    def distance(self, statistics: Statistics) -> float:
        """Return the mean distance over levels, in units of the limit."""
        levels = [level.distance(s) for level, s in zip(self.levels, statistics, strict=True)]
        return float(np.mean(levels)) / self.limit

    def judge(self, statistics: Statistics) -> Difference:
        """Return the differences of an image. Raises InputError where the model's features are not those
        stored."""
        sizes = [len(level.mean) for level in self.levels]
        axes = len(statistics[0]) - 2
        slopes = {axis for change in self.changes for axis in change.slopes}
        if sizes != [2 * found.shape[1] for found in statistics] or not slopes <= set(range(axes)):
            raise InputError(f"{OUT_OF_DISTRIBUTION_FILE}: was made for another model; {_REMEDY}")
        distance = self.distance(statistics)
        places = {change.way: change.place(statistics) / change.limit for change in self.changes}
        ways = (OTHER_KIND,) if distance > 1 else ()
        ways += tuple(way for way, place in places.items() if place > 1)
        return Difference(distance, ways, max(1.0, distance, *places.values()))


def flipped(axis: str) -> str:
    """Return the way of an image that is nearer to the training images flipped along `axis`."""
    return f"flipped along {axis}"


def describe_ways(unlike: Sequence[str]) -> str:
    """Return the ways in which an image differs from the training images, for a sentence about it."""
    looks = [way for way in unlike if way in DEVIATIONS]
    parts = [describe_deviations(looks)] if looks else []
    if OTHER_KIND in unlike:
        parts.append("is of another kind than the training images, so that its confidence means little")
    changes = [way for way in unlike if way not in DEVIATIONS and way != OTHER_KIND]
    if changes:
        parts.append(f"seems to be {' and '.join(changes)}, compared with the training images")
    return "; ".join(parts)


def flattened(statistics: Statistics, slopes: Sequence[int]) -> NDArray[np.float64]:
    """Return the statistics of all levels as one vector, with the slopes of these axes only."""
    rows = [0, 1, *(2 + axis for axis in slopes)]
    return np.concatenate([level[rows].ravel() for level in statistics])


def store_detector(folder: Path, detector: Detector, weights: str) -> None:
    """Write a detector into a model's folder; `weights` is the SHA-256 of the weights that it was fitted on.

    Raises:
        InputError: the disk refuses.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for n, level in enumerate(detector.levels):
        for name in ("mean", "deviation", "directions", "variances"):
            arrays[f"level{n}.{name}"] = getattr(level, name)
    for n, change in enumerate(detector.changes):
        arrays[f"change{n}.weights"] = change.weights
    header = _Header(
        weights,
        detector.limit,
        tuple(level.unit for level in detector.levels),
        tuple(_Line(one.way, one.slopes, one.start, one.limit) for one in detector.changes),
    )
    text = json.dumps({"version": VERSION, **to_json(header)})
    write_bytes_atomic(
        folder / OUT_OF_DISTRIBUTION_FILE,
        save({k: np.ascontiguousarray(a) for k, a in arrays.items()}, {"header": text}),
    )


def stored_detector(folder: Path, weights: str) -> Detector | None:
    """Return what is stored in a model's folder, None where nothing is.

    Raises:
        InputError: the file is damaged, newer, or was fitted on weights with another SHA-256 than `weights`.
    """
    path = folder / OUT_OF_DISTRIBUTION_FILE
    if not path.exists():
        return None
    if not path.is_file():
        raise InputError(f"{path}: is no file; {_REMEDY}")
    header, arrays = _read(path)
    if header.weights != weights:
        raise InputError(f"{path}: was fitted on other weights than the model has now; {_REMEDY}")
    try:
        detector = _assembled(header, arrays)
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({error}); {_REMEDY}") from error
    return detector


@dataclass(frozen=True)
class _Line:
    """A `Change` without its weights."""

    way: str
    slopes: tuple[int, ...]
    start: float
    limit: float


@dataclass(frozen=True)
class _Header:
    """The file's metadata."""

    weights: str
    limit: float
    units: tuple[float, ...]
    lines: tuple[_Line, ...]


def _read(path: Path) -> tuple[_Header, dict[str, NDArray[np.generic]]]:
    try:
        with safe_open(path, framework="numpy") as file:
            data = json.loads((file.metadata() or {}).get("header", ""))
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {_REMEDY}") from error
    version = data.pop("version", None) if isinstance(data, dict) else None
    if version != VERSION:
        raise InputError(f"{path}: is of version {version}, this ldseg knows {VERSION}; {_REMEDY}")
    return from_json(_Header, data, str(path)), arrays


def _assembled(header: _Header, arrays: dict[str, NDArray[np.generic]]) -> Detector:
    """Return the detector; raises KeyError or ValueError for arrays that are missing, contradict each other,
    or are not finite."""
    for name, array in arrays.items():
        if not np.isfinite(array.astype(np.float64)).all():
            raise ValueError(f"{name} has values that are not finite")
    levels: list[LevelReference] = []
    for n, unit in enumerate(header.units):
        parts = {
            name: arrays[f"level{n}.{name}"] for name in ("mean", "deviation", "directions", "variances")
        }
        level = LevelReference(
            parts["mean"].astype(np.float32),
            parts["deviation"].astype(np.float32),
            parts["directions"].astype(np.float16),
            parts["variances"].astype(np.float32),
            unit,
        )
        rank, size = level.directions.shape
        if (
            level.mean.shape != (size,)
            or level.deviation.shape != (size,)
            or len(level.variances) != rank + 1
        ):
            raise ValueError(f"the sizes of level {n} contradict each other")
        if not (level.deviation > 0).all() or not (level.variances > 0).all() or not unit > 0:
            raise ValueError(f"level {n} has deviations that are not above 0")
        levels.append(level)
    if not levels or not header.limit > 0:
        raise ValueError("it has no level, or no limit above 0")
    numbers = sum(len(level.mean) // 2 for level in levels)
    changes: list[Change] = []
    for n, line in enumerate(header.lines):
        weights = arrays[f"change{n}.weights"].astype(np.float32)
        if weights.shape != ((2 + len(line.slopes)) * numbers,) or not set(line.slopes) <= {0, 1, 2}:
            raise ValueError(f"the sizes of change {n} contradict each other")
        if not np.isfinite(line.start) or not line.limit > 0:
            raise ValueError(f"change {n} has no start, or no limit above 0")
        changes.append(Change(line.way, line.slopes, weights, line.start, line.limit))
    return Detector(tuple(levels), header.limit, tuple(changes))
