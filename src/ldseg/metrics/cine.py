"""Cine (2D+time) metrics: area per frame, ejection fraction, and the Dice of neighbouring frames.

The ejection fraction is (largest - smallest area) / largest. Summed over the slices of a subject, frame by
frame, it is that of the volume, if all slices have one thickness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ldseg.metrics.dice import dice

Frames = NDArray[np.bool_]


@dataclass(frozen=True)
class CineMetrics:
    """The cine metrics of one structure, in one image or summed over the slices of a subject."""

    areas: tuple[float, ...]
    """Area in each frame of the prediction, in mm², or in pixels where not `physical`."""
    reference_areas: tuple[float | None, ...]
    """Area in each frame of the reference; None for a frame that is not wholly labelled."""
    neighbour_dice: float | None
    """Mean Dice of neighbouring frames of the prediction; None where the structure is in no two of them."""
    reference_neighbour_dice: float | None
    """Mean Dice of neighbouring frames of the reference that are both labelled."""
    physical: bool = True
    """Whether areas are in mm²."""

    @property
    def ejection_fraction(self) -> float | None:
        """Return the ejection fraction of the prediction; None without a structure or for a single frame."""
        return _ejection_fraction(self.areas)

    @property
    def reference_ejection_fraction(self) -> float | None:
        """Return the ejection fraction of the reference over its labelled frames."""
        return _ejection_fraction([area for area in self.reference_areas if area is not None])

    @property
    def labelled_ejection_fraction(self) -> float | None:
        """Return the ejection fraction of the prediction over the frames that the reference labels."""
        pairs = zip(self.areas, self.reference_areas, strict=True)
        return _ejection_fraction([area for area, reference in pairs if reference is not None])

    def ejection_fractions(self) -> dict[str, float | None]:
        """Return all three ejection fractions by their names in `scores.json`."""
        return {
            "ejection_fraction": self.ejection_fraction,
            "labelled_ejection_fraction": self.labelled_ejection_fraction,
            "reference_ejection_fraction": self.reference_ejection_fraction,
        }


def cine_metrics(
    predicted: Frames, true: Frames, labelled: Frames, pixel: float, physical: bool = True
) -> CineMetrics:
    """Return the cine metrics of one structure from masks (T, Y, X).

    `labelled` (T,) says which frames are wholly labelled; `pixel` is the area of one pixel.
    """
    areas = predicted.sum(axis=(1, 2)) * pixel
    references = true.sum(axis=(1, 2)) * pixel
    return CineMetrics(
        tuple(map(float, areas)),
        tuple(float(area) if known else None for area, known in zip(references, labelled, strict=True)),
        _neighbour_dice(predicted, np.ones(len(labelled), dtype=bool)),
        _neighbour_dice(true, labelled),
        physical,
    )


def have_equal_frame_counts(slices: Sequence[dict[str, CineMetrics]]) -> bool:
    """Return whether all slices, each a mapping from structure to metrics, have equally many frames."""
    return len({len(one.areas) for by_class in slices for one in by_class.values()}) == 1


def sum_slices(slices: Sequence[CineMetrics]) -> CineMetrics:
    """Return the cine metrics of one structure of a subject from its slices of equally many frames.

    Areas are added frame by frame, Dice is averaged. A frame is labelled where it is in all slices.
    """
    areas = zip(*(one.areas for one in slices), strict=True)
    references = list(zip(*(one.reference_areas for one in slices), strict=True))
    known = [[area for area in frame if area is not None] for frame in references]
    return CineMetrics(
        tuple(float(sum(frame)) for frame in areas),
        tuple(float(sum(areas)) if len(areas) == len(slices) else None for areas in known),
        _mean([one.neighbour_dice for one in slices]),
        _mean([one.reference_neighbour_dice for one in slices]),
        all(one.physical for one in slices),
    )


def _neighbour_dice(frames: Frames, usable: Frames) -> float | None:
    """Return the mean Dice of neighbouring usable frames with the structure, None without such a pair."""
    pairs = pairwise(zip(frames, usable, strict=True))
    return _mean([dice(a, b) for (a, use_a), (b, use_b) in pairs if use_a and use_b and (a | b).any()])


def _ejection_fraction(areas: Sequence[float]) -> float | None:
    """Return (largest - smallest) / largest, None without a structure or for a single frame."""
    largest = max(areas, default=0.0)
    return (largest - min(areas)) / largest if largest > 0 and len(areas) > 1 else None


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not None, or None if all are."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
