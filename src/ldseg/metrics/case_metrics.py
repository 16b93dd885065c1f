"""The registry of metric families and the scores of one case.

A family is a function from a `MaskPair` to named numbers, all finite; names end with their unit, `mm` or `px`
(see `data.units`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.metrics import overlap, surface
from ldseg.metrics import surface_dice as surface_elements
from ldseg.metrics.masks import Empty, Mask, MaskPair, mask_pair

FAMILIES: tuple[Callable[[MaskPair], dict[str, float]], ...] = (
    overlap.measure,
    surface.measure,
    surface_elements.measure,
)


@dataclass(frozen=True)
class ClassScores:
    """The metrics of one class in one case."""

    metrics: dict[str, float]
    empty: Empty = "none"
    """Which mask has no voxel of the class: some numbers then follow from a rule (`overlap`, `surface`)."""


def measure(pair: MaskPair) -> ClassScores:
    """All families on one pair of masks."""
    metrics: dict[str, float] = {}
    for family in FAMILIES:
        metrics.update(family(pair))
    return ClassScores(metrics, pair.empty)


def evaluate_case(
    prediction: Volume,
    reference: Volume,
    classes: dict[str, int],
    ignore_id: int | None = None,
    tolerance: float = 1.0,
) -> dict[str, ClassScores]:
    """Scores of each class but the background (id 0); lengths by the reference's spacing: in
    mm, or in voxels where it has no physical one (`Volume.physical`), `tolerance` too.

    Both are label volumes (1, *S). Raises InputError where their grids have different shapes, or where one
    holds an id that is neither a class nor, in the reference, `ignore_id`.
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
        name: measure(
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


def mean_over_raters(raters: Sequence[dict[str, ClassScores]]) -> dict[str, ClassScores]:
    """Each metric's mean over the raters' scores of one case; empty where it is for any of them."""
    return {name: _mean([by_class[name] for by_class in raters]) for name in raters[0]}


def _mean(raters: Sequence[ClassScores]) -> ClassScores:
    metrics = {name: float(np.mean([one.metrics[name] for one in raters])) for name in raters[0].metrics}
    flags: list[Empty] = [one.empty for one in raters if one.empty != "none"]
    return ClassScores(metrics, flags[0] if flags else "none")


def _require_declared(what: str, ids: np.ndarray, classes: dict[str, int]) -> None:
    undeclared = sorted(set(np.unique(ids).tolist()) - {0, *classes.values()})
    if undeclared:
        shown = ", ".join(map(str, undeclared[:5])) + (", ..." if len(undeclared) > 5 else "")
        declared = ", ".join(f"{name} = {id_}" for name, id_ in classes.items())
        raise InputError(
            f"the {what} holds label ids that are no class ({shown}; classes are {declared}); "
            "correct the file or the declared classes"
        )
