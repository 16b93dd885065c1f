"""Compare the samples of a model with the masks of several raters, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ldseg.app.report.case_figure import canonical, select_case_slice, slice_pixels
from ldseg.app.report.figures import Panel, downsample, make_base_image
from ldseg.app.report.palette import heat
from ldseg.data.cases import Case
from ldseg.data.class_indices import class_indices
from ldseg.data.splits import evenly_spaced
from ldseg.data.volume import Volume
from ldseg.evaluation.ambiguity import AmbiguityReport, summarize
from ldseg.metrics.ambiguity import AmbiguityMetrics, ambiguity_metrics, pairwise_dice

MOST_CASES = 24
"""Cases that are compared, at most."""
_SHOWN = 3


@dataclass(frozen=True)
class RaterComparison:
    """Ambiguity metrics of cases with several raters, and panels of the worst of them."""

    ambiguity: AmbiguityReport
    rater_dice: float
    """Mean Dice of two raters of a case, over the cases."""
    panels: dict[str, tuple[Panel, ...]]
    """By case, largest GED^2 first: the image, how often raters mark a voxel, how often samples do."""


class RaterAccumulator:
    """Compares the samples of cases with their raters while the cases are measured, one after the other."""

    def __init__(self, cases: Sequence[Case], classes: dict[str, int], ignore_id: int | None) -> None:
        """Compare those of `cases` that several raters labelled, at most `MOST_CASES`."""
        several = [case for case in cases if len(case.labels) > 1]
        self.names = {case.name for case in (evenly_spaced(several, MOST_CASES) if several else ())}
        self._classes, self._ignore_id = classes, ignore_id
        self._found: dict[str, AmbiguityMetrics] = {}
        self._panels: dict[str, tuple[Panel, ...]] = {}
        self._rater_dice: list[float] = []
        self._samples = 0

    def add(
        self, case: str, image: Volume, masks: Sequence[Volume], labels: Volume, samples: Sequence[Volume]
    ) -> None:
        """Add the prediction of a case."""
        structures = [label for label in self._classes.values() if label != 0]
        self._found[case] = ambiguity_metrics(
            [one.array[0] for one in samples],
            [mask.array[0] for mask in masks],
            labels.array[0],
            structures,
            self._ignore_id,
        )
        self._rater_dice.append(pairwise_dice([mask.array[0] for mask in masks], structures, self._ignore_id))
        self._samples = len(samples)
        if case in self._worst():
            self._panels[case] = self._draw_panels(image, masks, labels, samples)

    def result(self) -> RaterComparison | None:
        """Return the comparison; None where no case has several raters."""
        if not self._found:
            return None
        panels = {case: self._panels[case] for case in self._worst()}
        dice = float(np.mean(self._rater_dice))
        return RaterComparison(summarize(self._found, self._samples), dice, panels)

    def _worst(self) -> list[str]:
        """Return the worst cases so far, largest GED^2 first."""
        return sorted(self._found, key=lambda case: -self._found[case].ged2)[:_SHOWN]

    def _draw_panels(
        self, image: Volume, masks: Sequence[Volume], labels: Volume, samples: Sequence[Volume]
    ) -> tuple[Panel, ...]:
        """Return the panels of one case on the slice where the raters mark most."""
        classes = self._classes
        references = [class_indices(canonical(mask)[0], classes, self._ignore_id) for mask in masks]
        predicted = class_indices(canonical(labels)[0], classes, None)
        view = select_case_slice(image, references, predicted)
        pixel_mm = view.width if image.physical else None
        name = f"rated-{len(self._found)}"
        base = make_base_image(name, slice_pixels(image, view), view.height / view.width, pixel_mm)
        by_raters = np.mean([view.cut(one) > 0 for one in references], axis=0)
        drawn = [class_indices(view.cut(canonical(one)[0]), classes, None) for one in samples]
        by_samples = np.mean([one > 0 for one in drawn], axis=0)
        return (
            Panel("image", base),
            Panel(f"{len(masks)} raters", base, (heat(downsample(by_raters)),), dimmed=True),
            Panel(f"{len(samples)} samples", base, (heat(downsample(by_samples)),), dimmed=True),
        )
