"""Compare the samples of a model with the masks of several raters, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ldseg.app.report.case_figure import canonical, select_case_slice, slice_pixels
from ldseg.app.report.figures import Panel, downsample, make_base_image
from ldseg.app.report.palette import heat
from ldseg.data.cases import Case, DataSet
from ldseg.data.class_indices import class_indices
from ldseg.data.loading import load_case
from ldseg.data.splits import evenly_spaced
from ldseg.evaluation.ambiguity import AmbiguityReport, evaluate_ambiguity
from ldseg.inference.base_predictor import BasePredictor
from ldseg.settings import SamplingSettings

MOST_CASES = 24
"""Cases that are compared, at most: each is predicted once more."""
_SHOWN = 3


@dataclass(frozen=True)
class RaterComparison:
    """Ambiguity metrics of cases with several raters, and panels of the worst of them."""

    ambiguity: AmbiguityReport
    panels: dict[str, tuple[Panel, ...]]
    """By case, largest GED^2 first: the image, how often raters mark a voxel, how often samples do."""


def compare_with_raters(
    predictor: BasePredictor, dataset: DataSet, cases: Sequence[Case], sampling: SamplingSettings, seed: int
) -> RaterComparison | None:
    """Return the comparison on those of `cases` that several raters labelled, None without any.

    Raises:
        InputError: a case cannot be read, or does not fit the model.
    """
    several = [case for case in cases if len(case.labels) > 1]
    if not several:
        return None
    chosen = evenly_spaced(several, MOST_CASES)
    found = evaluate_ambiguity(predictor, dataset, chosen, sampling.samples, sampling.steps, seed)
    order = sorted(chosen, key=lambda case: -found.cases[case.name].ged2)
    panels = {
        case.name: _draw_panels(predictor, dataset, case, sampling, seed, f"rated-{number}")
        for number, case in enumerate(order[:_SHOWN])
    }
    return RaterComparison(found, panels)


def _draw_panels(
    predictor: BasePredictor, dataset: DataSet, case: Case, sampling: SamplingSettings, seed: int, name: str
) -> tuple[Panel, ...]:
    """Return the panels of one case on the slice where the raters mark most."""
    image, masks = load_case(dataset, case)
    prediction = predictor(
        image, case.name, sampling.steps, sampling.samples, seed=seed, source=str(case.images[0])
    )
    classes = predictor.plan.classes
    references = [class_indices(canonical(mask)[0], classes, dataset.ignore_id) for mask in masks]
    predicted = class_indices(canonical(prediction.labels)[0], classes, None)
    view = select_case_slice(image, references, predicted)
    pixel_mm = view.width if image.physical else None
    base = make_base_image(name, slice_pixels(image, view), view.height / view.width, pixel_mm)
    by_raters = np.mean([view.cut(one) > 0 for one in references], axis=0)
    by_samples = 1 - view.cut(canonical(prediction.frequencies)[0])
    return (
        Panel("image", base),
        Panel(f"{len(masks)} raters", base, (heat(downsample(by_raters)),), dimmed=True),
        Panel(f"{sampling.samples} samples", base, (heat(downsample(by_samples)),), dimmed=True),
    )
