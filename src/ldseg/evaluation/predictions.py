"""Predictions of a model paired with the reference labels, case by case; calibration is measured on them.

K classes in the plan's order; *S the image's own grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ldseg.data.cases import Case, DataSet
from ldseg.data.class_indices import IGNORE_INDEX, class_indices
from ldseg.data.loading import load_case
from ldseg.data.units import OneUnit, voxel_size
from ldseg.data.volume import Axes, Volume
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.posterior import VolumeEstimate
from ldseg.metrics.dice import dice


@dataclass(frozen=True)
class CasePrediction:
    """The prediction for one case, paired with the labels of one rater."""

    case: str
    axes: Axes
    probabilities: NDArray[np.float32]
    """(K, *S), as `BasePredictor.calibration` is applied to them."""
    truth: NDArray[np.int16]
    """(*S) classes 0..K-1, -1 for unlabelled voxels."""
    volumes: dict[str, VolumeEstimate]
    """Estimated volume of each structure."""
    true_volumes: dict[str, float]
    """True volume of each structure, in the unit of `volumes`; empty where some voxels are unlabelled."""
    decided: NDArray[np.int16] | None = None
    """(*S) classes of the labels; None where they are the argmax of the probabilities."""
    expected_dice: dict[str, float] = field(default_factory=dict[str, float])
    """Of each structure, as `BasePredictor.calibration` corrects it; empty where labels are the argmax."""
    samples: tuple[Volume, ...] = ()
    """(1, *S) ids of each sample; empty unless they were to be kept."""

    @property
    def labels(self) -> NDArray[np.integer]:
        """Return the classes (*S) of the labels."""
        return self.probabilities.argmax(0) if self.decided is None else self.decided


def iterate_predictions(
    predictor: BasePredictor,
    dataset: DataSet,
    cases: Iterable[Case],
    samples: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    keep_samples: bool = False,
) -> Iterator[CasePrediction]:
    """Yield one prediction for each case and rater, with one case in memory at a time.

    `samples` and `steps` None take the model's own sampling.

    Raises:
        InputError: a case cannot be read, does not fit the model, or has another unit than the others.
    """
    classes, units = predictor.plan.classes, OneUnit()
    raw = predictor.before_calibration().deciding_by(predictor.decision)
    sampling = predictor.sampling(steps, samples)
    for case in cases:
        image, masks = load_case(dataset, case)
        units.add(str(case.images[0]), image.physical)
        predicted = raw(
            image,
            case.name,
            sampling.steps,
            sampling.samples,
            seed=seed,
            keep_samples=keep_samples,
            source=str(case.images[0]),
        )
        decided = None
        if predictor.decides(sampling):
            decided = class_indices(predicted.labels.array[0], classes, None)
        for mask in masks:
            truth = class_indices(mask.array[0], classes, dataset.ignore_id)
            complete = not bool((truth == IGNORE_INDEX).any())
            yield CasePrediction(
                case=case.name,
                axes=image.axes,
                probabilities=predicted.probabilities.array,
                truth=truth,
                volumes=predicted.volumes,
                true_volumes=structure_volumes(truth, mask, classes) if complete else {},
                decided=decided,
                expected_dice=predicted.expected_dice,
                samples=predicted.samples,
            )


def structure_dice(prediction: CasePrediction, labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the Dice (K - 1,) of each structure of `labels` (*S) with the truth, where that is labelled."""
    labelled = prediction.truth >= 0
    structures = range(1, len(prediction.probabilities))
    return np.array([dice((labels == k) & labelled, prediction.truth == k) for k in structures])


def structure_volumes(
    indices: NDArray[np.integer], volume: Volume, classes: dict[str, int]
) -> dict[str, float]:
    """Return the volume of each structure of a map of class indices, in the unit of `volume`'s grid
    (`data.units.size_unit`)."""
    voxel = voxel_size(volume.axes, volume.spacing)
    counts = np.bincount(indices.ravel(), minlength=len(classes))
    return {name: float(counts[k] * voxel) for k, name in enumerate(classes) if k > 0}
