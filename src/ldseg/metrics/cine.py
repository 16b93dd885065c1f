"""Films over time: the area of a structure in each frame, how much it shrinks, and whether neighbours agree.

The ejection fraction is (largest - smallest area) / largest. Summed over the slices of a subject, frame by
frame, it is that of the volume: slices of equal thickness are taken for granted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ldseg.data.units import voxel_size
from ldseg.data.volume import Volume

Frames = NDArray[np.bool_]


@dataclass(frozen=True)
class Cycle:
    """One structure in one film, or in all slices of a subject."""

    areas: tuple[float, ...]
    """In each frame of the prediction, in mm², or in pixels where not `physical`."""
    reference_areas: tuple[float | None, ...]
    """None for a frame that is not labelled, or only in part."""
    neighbour_dice: float | None
    """Mean Dice of neighbouring frames of the prediction; None where the structure is in no two of them."""
    reference_neighbour_dice: float | None
    """The same of the reference, over neighbours that are both labelled."""
    physical: bool = True
    """Whether areas are in mm²."""

    @property
    def ejection_fraction(self) -> float | None:
        """Of the prediction, over all frames; None where there is no structure or one frame only."""
        return _ejection_fraction(self.areas)

    @property
    def reference_ejection_fraction(self) -> float | None:
        """Of the reference, over its labelled frames."""
        return _ejection_fraction([area for area in self.reference_areas if area is not None])

    @property
    def labelled_ejection_fraction(self) -> float | None:
        """Of the prediction, over the frames that the reference labels."""
        pairs = zip(self.areas, self.reference_areas, strict=True)
        return _ejection_fraction([area for area, reference in pairs if reference is not None])

    def ejection_fractions(self) -> dict[str, float | None]:
        """All three, by the names that they have in `scores.json`."""
        return {
            "ejection_fraction": self.ejection_fraction,
            "labelled_ejection_fraction": self.labelled_ejection_fraction,
            "reference_ejection_fraction": self.reference_ejection_fraction,
        }


def measure_cycle(
    prediction: Volume, reference: Volume, classes: dict[str, int], ignore_id: int | None = None
) -> dict[str, Cycle]:
    """Each class but the background (id 0). Both are label volumes (1, T, Y, X) of axes "tyx" and one shape;
    pixels have the reference's size."""
    predicted, true = prediction.array[0], reference.array[0]
    pixel = voxel_size("tyx", reference.spacing)
    ignored = np.zeros(true.shape, dtype=bool) if ignore_id is None else true == ignore_id
    labelled = np.logical_not(ignored.any(axis=(1, 2)))
    return {
        name: replace(_measure(predicted == id_, true == id_, labelled, pixel), physical=reference.physical)
        for name, id_ in classes.items()
        if id_ != 0
    }


def have_equal_frames(slices: Sequence[dict[str, Cycle]]) -> bool:
    """Whether all slices, each a structure's cycle by its name, have as many frames."""
    return len({len(one.areas) for by_class in slices for one in by_class.values()}) == 1


def sum_slices(slices: Sequence[Cycle]) -> Cycle:
    """One structure of a subject from its slices of equally many frames: areas added frame by frame, Dice
    averaged. A frame is labelled where it is in all slices."""
    areas = zip(*(one.areas for one in slices), strict=True)
    references = zip(*(one.reference_areas for one in slices), strict=True)
    return Cycle(
        tuple(float(sum(frame)) for frame in areas),
        tuple(_sum(frame) for frame in references),
        _mean([one.neighbour_dice for one in slices]),
        _mean([one.reference_neighbour_dice for one in slices]),
        all(one.physical for one in slices),
    )


def _sum(areas: Sequence[float | None]) -> float | None:
    known = [area for area in areas if area is not None]
    return float(sum(known)) if len(known) == len(areas) else None


def _measure(predicted: Frames, true: Frames, labelled: Frames, pixel: float) -> Cycle:
    areas = predicted.sum(axis=(1, 2)) * pixel
    references = true.sum(axis=(1, 2)) * pixel
    return Cycle(
        tuple(map(float, areas)),
        tuple(float(area) if known else None for area, known in zip(references, labelled, strict=True)),
        _neighbour_dice(predicted, np.ones(len(labelled), dtype=bool)),
        _neighbour_dice(true, labelled),
    )


def _neighbour_dice(frames: Frames, usable: Frames) -> float | None:
    pairs = pairwise(zip(frames, usable, strict=True))
    return _mean([_dice(a, b) for (a, use_a), (b, use_b) in pairs if use_a and use_b])


def _dice(a: Frames, b: Frames) -> float | None:
    size = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / size if size else None


def _ejection_fraction(areas: Sequence[float]) -> float | None:
    largest = max(areas, default=0.0)
    return (largest - min(areas)) / largest if largest > 0 and len(areas) > 1 else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
