"""Fit the detector of `inference.out_of_distribution` on the cases that a model was trained on.

How far an ordinary image lies is measured on cases that are left out of the fit in turn: features of the
images that a covariance was made of lie too near.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ldseg.data.cases import Case, DataSet
from ldseg.data.loading import load_image
from ldseg.inference.backends.torch_backend import TorchBackend, encode
from ldseg.inference.feature_statistics import FeatureStatistics, Statistics
from ldseg.inference.out_of_distribution import (
    INVERTED,
    Change,
    Detector,
    LevelReference,
    flattened,
    flipped,
    store_detector,
)
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import Plan
from ldseg.preprocessing.preprocess import PreprocessedImage, preprocess_image
from ldseg.runs.files import OUT_OF_DISTRIBUTION_FILE

FEWEST = 10
"""Images; of fewer nothing can be said."""
_MOST, _TILES = 512, 1024
"""Images and tiles to encode; no more images than `_FEW` once the tiles are used up."""
_FEW = 16
_RANK = 16
_FOLDS = 10
_SURE = 50
"""With as many images at most one new image in 50 is to be expected beyond the farthest that is left out."""
_FEW_MARGIN = 1.25
_MIDDLE, _CHANGED_BEYOND = 0.5, 0.9
"""Least limit on a line, which is kept if at least so many of the changed images lie beyond the limit."""

Numbers = NDArray[np.float64]
OnCase = Callable[[float, str], None]


@dataclass(frozen=True)
class ChangedImages:
    """Feature statistics of training images after one change, e.g. flipped."""

    statistics: tuple[Statistics, ...]
    slopes: tuple[int, ...]
    """Axes whose slopes distinguish these images from the others."""


def fit_and_store_detector(
    folder: Path,
    predictor: Predictor,
    dataset: DataSet,
    cases: Sequence[Case],
    on_case: OnCase = lambda _share, _case: None,
) -> Detector | None:
    """Fit a detector for the model of `folder`, loaded as `predictor`, on `cases` and store it there.

    None, and no file, where the model has no image encoder of its own or there are fewer than `FEWEST` cases.
    An earlier file stays until the new one is there.

    Raises:
        InputError: a case cannot be read or does not fit the model, or the disk refuses.
    """
    detector = None
    if len(cases) >= FEWEST:
        own, changed = _collect_statistics(predictor, dataset, cases, on_case)
        detector = fit_detector(own, changed) if own[0] else None
    if detector is None:
        (folder / OUT_OF_DISTRIBUTION_FILE).unlink(missing_ok=True)
    else:
        store_detector(folder, detector, predictor.identity.sha256)
    return detector


def fit_detector(own: Sequence[Statistics], changed: Mapping[str, ChangedImages]) -> Detector:
    """Return the detector fitted to images with the statistics `own` and to the changed images.

    Neighbours in their order may be of one subject.
    """
    levels: list[LevelReference] = []
    left_out: list[Numbers] = []
    for n in range(len(own[0])):
        vectors = np.stack([one[n][:2].ravel() for one in own])
        distances = _distances_left_out(vectors)
        unit = float(np.median(distances))
        levels.append(_reference(vectors, unit))
        left_out.append(distances / unit)
    limit = float(np.mean(left_out, axis=0).max()) * (1 if len(own) >= _SURE else _FEW_MARGIN)
    lines = [_line(way, own, images) for way, images in changed.items()]
    return Detector(tuple(levels), limit, tuple(line for line in lines if line is not None))


def _distances_left_out(vectors: Numbers) -> Numbers:
    """Return the distance of each image from a fit on the others, in blocks of neighbours."""
    distances = np.zeros(len(vectors))
    for block in np.array_split(np.arange(len(vectors)), _FOLDS):
        reference = _reference(np.delete(vectors, block, axis=0), 1.0)
        distances[block] = [reference.distance(v.reshape(2, -1)) for v in vectors[block]]
    return distances


def _reference(vectors: Numbers, unit: float) -> LevelReference:
    """Return mean, deviations and covariance of `vectors` (N, 2C)."""
    mean = vectors.mean(0)
    deviation = np.maximum(vectors.std(0), 1e-3 * np.abs(vectors).mean() + 1e-9)
    variances, directions = np.linalg.eigh(_shrunk_covariance((vectors - mean) / deviation))
    rank = min(_RANK, len(variances) - 1)
    rest = variances[: len(variances) - rank].mean()
    return LevelReference(
        mean.astype(np.float32),
        deviation.astype(np.float32),
        directions.T[len(variances) - rank :].astype(np.float16),
        np.append(variances[len(variances) - rank :], rest).astype(np.float32),
        unit,
    )


def _shrunk_covariance(centred: Numbers) -> Numbers:
    """Return the covariance of (N, F), shrunk towards a multiple of the identity (Ledoit and Wolf 2004)."""
    n, size = centred.shape
    covariance = centred.T @ centred / n
    target = np.trace(covariance) / size * np.eye(size)
    spread = float(np.square(covariance - target).sum())
    error = float((np.square(np.square(centred).sum(1)).sum() / n - np.square(covariance).sum()) / n)
    share = min(max(error, 0.0), spread) / max(spread, 1e-12)
    return (1 - share) * covariance + share * target


def _line(way: str, own: Sequence[Statistics], changed: ChangedImages) -> Change | None:
    """Return the line to changed images; None where it does not tell them from images that are left out."""
    here = np.stack([flattened(one, changed.slopes) for one in own])
    there = np.stack([flattened(one, changed.slopes) for one in changed.statistics])
    places_here, places_there = np.zeros(len(here)), np.zeros(len(there))
    for fold in range(_FOLDS):
        mine, theirs = (np.array_split(np.arange(len(rows)), _FOLDS)[fold] for rows in (here, there))
        weights, start = _discriminant(np.delete(here, mine, axis=0), np.delete(there, theirs, axis=0))
        places_here[mine] = here[mine] @ weights - start
        places_there[theirs] = there[theirs] @ weights - start
    limit = max(_MIDDLE, float(places_here.max()))
    if (places_there > limit).mean() < _CHANGED_BEYOND:
        return None
    weights, start = _discriminant(here, there)
    return Change(way, changed.slopes, weights.astype(np.float32), start, limit)


def _discriminant(here: Numbers, there: Numbers) -> tuple[Numbers, float]:
    """Return weights and a start with which the mean of `here` lies at 0 and that of `there` at 1."""
    first, second = here.mean(0), there.mean(0)
    centred = np.concatenate([here - first, there - second])
    deviation = np.maximum(centred.std(0), 1e-9)
    way = (second - first) / deviation
    weights = np.linalg.solve(_shrunk_covariance(centred / deviation), way) / deviation
    weights /= max(float(weights @ (second - first)), 1e-12)
    return weights, float(weights @ first)


def _collect_statistics(
    predictor: Predictor, dataset: DataSet, cases: Sequence[Case], on_case: OnCase
) -> tuple[list[Statistics], dict[str, ChangedImages]]:
    """Return the statistics of some of `cases` in the order of their names, as they are and changed."""
    order = np.random.default_rng(0).permutation(len(cases))[:_MOST]
    found: dict[str, dict[str, Statistics]] = {}
    tiles = 0
    for number, index in enumerate(order):
        if tiles >= _TILES and number >= _FEW:
            break
        case = cases[index]
        image = preprocess_image(load_image(dataset, case), predictor.plan, str(case.images[0]))
        found[case.name] = {
            way: _encoded(predictor, one) for way, one in _variants(image, predictor.plan).items()
        }
        tiles += sum(1 for _ in predictor.tiling(image.grid).tiles())
        on_case((number + 1) / len(order), case.name)
    names = sorted(found)
    ways = [way for way in found[names[0]] if way]
    changed = {
        way: ChangedImages(tuple(found[name][way] for name in names), _axes_to_flip(predictor.plan))
        for way in ways
    }
    return [found[name][""] for name in names], changed


def _variants(image: PreprocessedImage, plan: Plan) -> dict[str, PreprocessedImage]:
    """Return the image as it is (""), flipped along each axis that training did not mirror, and inverted."""
    ends = tuple(range(1, image.array.ndim))
    inverted = image.array.min(ends, keepdims=True) + image.array.max(ends, keepdims=True) - image.array
    for n, channel in enumerate(plan.channels):
        if channel.scheme == "zscore":  # of an inverted image the mean is taken anew
            inverted[n] = -image.array[n]
    arrays = {"": image.array}
    for axis in _axes_to_flip(plan):
        arrays[flipped(plan.axes[axis])] = np.flip(image.array, 1 + axis)
    arrays[INVERTED] = inverted
    return {way: replace(image, array=array) for way, array in arrays.items()}


def _axes_to_flip(plan: Plan) -> tuple[int, ...]:
    """Return the axes of space along which a flipped image is none of the training's kind."""
    return tuple(a for a, name in enumerate(plan.axes) if name != "t" and a not in plan.mirror_axes)


@torch.inference_mode()
def _encoded(predictor: Predictor, image: PreprocessedImage) -> Statistics:
    """Return the statistics of one image, which is encoded for nothing else."""
    backend = predictor.backend
    assert isinstance(backend, TorchBackend)
    tiling = predictor.tiling(image.grid)
    statistics = FeatureStatistics(tiling)
    for tile in tiling.tiles():
        x = torch.from_numpy(image.read(tile.corner, tiling.patch))
        conditioning = encode(backend.segmenter, x, None, backend.device, backend.precision)
        statistics.add(tile, conditioning.features)
    return statistics.result()
