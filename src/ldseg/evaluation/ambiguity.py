"""Ambiguity of a trained model on cases that several raters labelled (see `ldseg.metrics.ambiguity`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from ldseg.data.cases import Case, DataSet
from ldseg.data.loading import load_case
from ldseg.inference.base_predictor import BasePredictor
from ldseg.metrics.ambiguity import AmbiguityMetrics, ambiguity_metrics


@dataclass(frozen=True)
class AmbiguityReport:
    """The ambiguity metrics of a set of cases and their mean; `serialization.to_json` makes it JSON."""

    samples: int
    mean: AmbiguityMetrics
    cases: dict[str, AmbiguityMetrics]


def evaluate_ambiguity(
    predictor: BasePredictor,
    dataset: DataSet,
    cases: Iterable[Case],
    samples: int,
    steps: int | None = None,
    seed: int = 0,
) -> AmbiguityReport:
    """Return the ambiguity metrics of `samples` predictions per case, with one case in memory at a time.

    Raises:
        InputError: a case cannot be read, or does not fit the model.
        ValueError: there are no cases.
    """
    structures = [label for label in predictor.plan.classes.values() if label != 0]
    found: dict[str, AmbiguityMetrics] = {}
    for case in cases:
        image, masks = load_case(dataset, case)
        prediction = predictor(
            image, case.name, steps, samples, seed=seed, keep_samples=True, source=str(case.images[0])
        )
        found[case.name] = ambiguity_metrics(
            [one.array[0] for one in prediction.samples],
            [mask.array[0] for mask in masks],
            prediction.labels.array[0],
            structures,
            dataset.ignore_id,
        )
    return summarize(found, predictor.sampling(steps, samples).samples)


def summarize(cases: dict[str, AmbiguityMetrics], samples: int) -> AmbiguityReport:
    """Return the cases with their mean. Raises ValueError when there are none."""
    if not cases:
        raise ValueError("no cases: nothing has a mean")
    names = [field.name for field in fields(AmbiguityMetrics)]
    means = {name: float(np.mean([getattr(one, name) for one in cases.values()])) for name in names}
    return AmbiguityReport(samples, AmbiguityMetrics(**means), cases)
