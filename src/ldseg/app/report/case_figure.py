"""Panels of one case: image, references, prediction and uncertainty on one slice."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.app.report.figures import (
    FILL,
    Panel,
    Pixels,
    downsample,
    label_overlay,
    make_base_image,
    to_gray_or_rgb,
)
from ldseg.app.report.palette import heat
from ldseg.app.report.report_data import TOLERANCE
from ldseg.app.report.slice_selection import CropBox, SliceSelection, select_crop, select_slice
from ldseg.data.cases import Case, DataSet
from ldseg.data.class_indices import IGNORE_INDEX, class_indices
from ldseg.data.loading import load_case
from ldseg.data.volume import Volume
from ldseg.evaluation.case_metrics import ClassScores, evaluate_case, mean_over_raters
from ldseg.evaluation.predictions import structure_volumes
from ldseg.inference.base_predictor import BasePredictor, Prediction
from ldseg.planning.orientation import orientation_of
from ldseg.preprocessing.orient import to_canonical
from ldseg.settings import SamplingSettings

_COLOR_CHANNELS = 3


@dataclass(frozen=True)
class CaseFigure:
    """A predicted and scored case with its panels."""

    case: str
    scores: dict[str, ClassScores]
    """Scores of this prediction, averaged over the raters."""
    prediction: Prediction
    image: Volume
    volumes: dict[str, float]
    """Reference volume per structure in the prediction's unit, averaged over the raters; empty if voxels are
    unlabeled."""
    raters: int
    """Number of references."""
    where: str
    """Description of the slice and part that is shown."""
    panels: tuple[Panel, ...]
    """The image, the references, the prediction and its uncertainty."""


def draw_case_figure(
    predictor: BasePredictor, dataset: DataSet, case: Case, sampling: SamplingSettings, seed: int, name: str
) -> CaseFigure:
    """Predict a case and return its figure; `name` identifies its image within the page.

    Raises:
        InputError: the case cannot be read, or does not fit the model.
    """
    image, masks = load_case(dataset, case)
    prediction = predictor(
        image,
        case.name,
        steps=sampling.steps,
        samples=sampling.samples,
        sampler=sampling.sampler,
        seed=seed,
        source=str(case.images[0]),
    )
    classes, ignore_id = predictor.plan.classes, dataset.ignore_id
    scores = mean_over_raters(
        [evaluate_case(prediction.labels, mask, classes, ignore_id, TOLERANCE) for mask in masks]
    )
    references = [class_indices(canonical(mask)[0], classes, ignore_id) for mask in masks]
    predicted = class_indices(canonical(prediction.labels)[0], classes, None)
    drawing = _Drawing(image, references, predicted, canonical(prediction.uncertainty)[0], log(len(classes)))
    panels, where = drawing.panels(name)
    volumes: dict[str, float] = {}
    if not any((one == IGNORE_INDEX).any() for one in references):
        by_rater = [structure_volumes(one, image, classes) for one in references]
        volumes = {name: float(np.mean([one[name] for one in by_rater])) for name in by_rater[0]}
    return CaseFigure(case.name, scores, prediction, image, volumes, len(masks), where, panels)


def canonical(volume: Volume) -> NDArray[Any]:
    """Return the array (M, *S) in canonical order of axes."""
    return to_canonical(volume.array, orientation_of(volume))


def select_case_slice(
    volume: Volume, references: list[NDArray[Any]], predicted: NDArray[Any]
) -> SliceSelection:
    """Return the slice where the references (*S) are largest or, if they are empty, the prediction."""
    structures = np.any([one > 0 for one in references], axis=0)
    if not structures.any():
        structures = predicted > 0
    return select_slice(structures, orientation_of(volume).permuted(volume.spacing), volume.axes)


def slice_pixels(image: Volume, view: SliceSelection) -> Pixels:
    """Return a slice of an image as gray, or as RGB for a 2D image with three channels."""
    array = canonical(image)
    is_color = len(array) == _COLOR_CHANNELS and image.axes == "yx"
    return to_gray_or_rgb(np.stack([view.cut(one) for one in array]), is_color)


@dataclass(frozen=True)
class _Drawing:
    """Arrays (*S) in canonical order: class indices of each rater and of the prediction, entropy in nats."""

    image: Volume
    references: list[NDArray[Any]]
    predicted: NDArray[Any]
    entropy: NDArray[Any]
    most: float
    """Largest possible entropy."""

    def panels(self, name: str) -> tuple[tuple[Panel, ...], str]:
        """Return the panels and the description of the slice."""
        view = select_case_slice(self.image, self.references, self.predicted)
        truths, prediction = [view.cut(one) for one in self.references], view.cut(self.predicted)
        window = select_crop(np.any([one > 0 for one in (*truths, prediction)], 0), view.height, view.width)
        pixels = slice_pixels(self.image, view)
        stretch, pixel_mm = view.height / view.width, view.width if self.image.physical else None
        whole = make_base_image(name, pixels, stretch, pixel_mm)
        base = whole
        if window is not None:
            base = make_base_image(f"{name}-part", _part(pixels, window), stretch, pixel_mm)
        marks = [label_overlay(_part(one, window), FILL // len(truths)) for one in truths]
        doubt = heat(downsample(_part(view.cut(self.entropy), window)) / self.most)
        panels = (
            Panel("image", whole, frame=window),
            Panel(f"references of {len(truths)} raters" if truths[1:] else "reference", base, tuple(marks)),
            Panel("prediction", base, (label_overlay(_part(prediction, window)),)),
            Panel("uncertainty", base, (doubt,), dimmed=True),
        )
        sides = view.sides() if self.image.physical else ""
        parts = [view.describe(), "the last three enlarged" if window else "", sides]
        return panels, ", ".join(part for part in parts if part)


def _part(array: NDArray[Any], window: CropBox | None) -> NDArray[Any]:
    if window is None:
        return array
    top, left, rows, columns = window
    return array[top : top + rows, left : left + columns]
