"""The registry of metrics, and the scores of one case against its reference.

A metric is a function from a `MaskPair` to named numbers, all finite; names end with their unit, `mm` or `px`
(see `data.units`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ldseg.data.units import voxel_size
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.metrics.cine import CineMetrics, cine_metrics
from ldseg.metrics.masks import Empty, Mask, MaskPair, mask_pair
from ldseg.metrics.overlap import overlap_metrics
from ldseg.metrics.surface import surface_metrics
from ldseg.metrics.surface_dice import surface_dice_metric

METRICS: tuple[Callable[[MaskPair], dict[str, float]], ...] = (
    overlap_metrics,
    surface_metrics,
    surface_dice_metric,
)


@dataclass(frozen=True)
class ClassScores:
    """The metrics of one class in one case."""

    metrics: dict[str, float]
    empty: Empty = "none"
    """Which mask has no voxel of the class; `metrics.overlap` and `metrics.surface` define such scores."""


def class_scores(pair: MaskPair) -> ClassScores:
    """Return all metrics of one class."""
    metrics: dict[str, float] = {}
    for metric in METRICS:
        metrics.update(metric(pair))
    return ClassScores(metrics, pair.empty)


def evaluate_case(
    prediction: Volume,
    reference: Volume,
    classes: dict[str, int],
    ignore_id: int | None = None,
    tolerance: float = 1.0,
) -> dict[str, ClassScores]:
    """Return the scores of each class but the background (id 0).

    Lengths and `tolerance` are in mm by the reference's spacing, or in voxels where it is not physical
    (`Volume.physical`). Both are label volumes (1, *S). Raises InputError where their grids have different
    shapes, or where one holds an id that is neither a class nor, in the reference, `ignore_id`.
    """
    if prediction.shape != reference.shape:
        raise InputError(
            f"the prediction's shape is {prediction.shape}, the reference's {reference.shape}; "
            "predict on the image that the reference was drawn on"
        )
    predicted, true = prediction.array[0], reference.array[0]
    valid: Mask = np.ones(true.shape, dtype=bool) if ignore_id is None else true != ignore_id
    _require_declared("prediction", predicted[valid], classes)
    _require_declared("reference", true[valid], classes)
    return {
        name: class_scores(
            mask_pair(
                predicted == id_,
                true == id_,
                valid,
                reference.spacing,
                reference.axes,
                tolerance,
                reference.physical,
            )
        )
        for name, id_ in classes.items()
        if id_ != 0
    }


def evaluate_cine(
    prediction: Volume, reference: Volume, classes: dict[str, int], ignore_id: int | None = None
) -> dict[str, CineMetrics]:
    """Return the cine metrics of each class but the background (id 0).

    Both are label volumes (1, T, Y, X) of axes "tyx" and of one shape; pixels have the reference's size.
    """
    predicted, true = prediction.array[0], reference.array[0]
    pixel = voxel_size("tyx", reference.spacing)
    ignored = np.zeros(true.shape, dtype=bool) if ignore_id is None else true == ignore_id
    labelled = np.logical_not(ignored.any(axis=(1, 2)))
    return {
        name: cine_metrics(predicted == id_, true == id_, labelled, pixel, reference.physical)
        for name, id_ in classes.items()
        if id_ != 0
    }


def mean_over_raters(raters: Sequence[dict[str, ClassScores]]) -> dict[str, ClassScores]:
    """Return the mean of each metric over the raters' scores of one case, marked empty if any of them is."""
    means: dict[str, ClassScores] = {}
    for name in raters[0]:
        scores = [by_class[name] for by_class in raters]
        metrics = {key: float(np.mean([one.metrics[key] for one in scores])) for key in scores[0].metrics}
        flags: list[Empty] = [one.empty for one in scores if one.empty != "none"]
        means[name] = ClassScores(metrics, flags[0] if flags else "none")
    return means


def _require_declared(what: str, ids: np.ndarray, classes: dict[str, int]) -> None:
    """Raise InputError where `ids` holds an id that is neither 0 nor one of `classes`."""
    undeclared = sorted(set(np.unique(ids).tolist()) - {0, *classes.values()})
    if undeclared:
        shown = ", ".join(map(str, undeclared[:5])) + (", ..." if len(undeclared) > 5 else "")
        declared = ", ".join(f"{name} = {id_}" for name, id_ in classes.items())
        raise InputError(
            f"the {what} holds label ids that are no class ({shown}; classes are {declared}); "
            "correct the file or the declared classes"
        )
