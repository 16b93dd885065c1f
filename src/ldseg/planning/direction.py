"""Do the pictures of a set have a top and a bottom?

An ultrasound image has: it is brightest near the probe, and structures lie at their usual depth. Cells in a
dish have none. The intensities of each case on a coarse grid, and the shares of its structures there, are
compared with their mirror image, top to bottom: the difference is the asymmetry. Where a set has a direction,
the asymmetry of each subject resembles that of all others; where it has none, they correlate by chance alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.volume import Volume

CELLS = 8
"""Cells of the coarse grid along each axis."""
SUBJECTS = 8
"""A set of fewer subjects is not judged."""
RESEMBLANCE = 0.2
"""A set without direction resembles itself less than this."""
SURELY = 0.5
"""The interval must end below this."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Asymmetry:
    """The difference of a case, or of the mean of several, from its mirror image, top to bottom."""

    image: Vector
    """(C * 64,) for C channels."""
    structures: Vector
    """(K * 64,) for K structures."""


@dataclass(frozen=True)
class Direction:
    """The extent to which the pictures of a set agree on what is above and what below."""

    resemblance: float
    """Correlation of a subject's asymmetry with that of all others, the mean over subjects; that of images or
    of structures, whichever is larger."""
    at_most: float
    """Upper end of its 95 % interval (Student's t), the larger of both."""

    @property
    def absent(self) -> bool:
        """True where the set has no direction."""
        return self.resemblance < RESEMBLANCE and self.at_most < SURELY


def asymmetry_of(image: Volume, raters: Sequence[Volume], ids: Sequence[int]) -> Asymmetry:
    """Return the asymmetry of a 2D image (C, H, W) and of the structures `ids` in its label maps (1, H, W),
    the mean over raters."""
    shares = [np.mean([_on_coarse_grid(one.array == label) for one in raters], axis=0) for label in ids]
    structures = np.reshape(shares, (-1, CELLS, CELLS))
    return Asymmetry(_asymmetry(_on_coarse_grid(image.array)), _asymmetry(structures))


def direction_of(found: Mapping[str, Sequence[Asymmetry]]) -> Direction | None:
    """Return the direction of a set from the asymmetries of each subject's cases; None for few subjects."""
    if len(found) < SUBJECTS:
        return None
    measured = (
        _resemblance([np.mean([one.image for one in cases], axis=0) for cases in found.values()]),
        _resemblance([np.mean([one.structures for one in cases], axis=0) for cases in found.values()]),
    )
    return Direction(*(max(values) for values in zip(*measured, strict=True)))


def _on_coarse_grid(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the means (C, 8, 8) of (C, H, W) over the cells of the coarse grid."""
    coarse: NDArray[Any] = values  # a whole image is never copied
    for axis in (1, 2):
        grown = coarse if coarse.shape[axis] >= CELLS else coarse.repeat(CELLS, axis)
        cells = np.array_split(grown, CELLS, axis)
        coarse = np.concatenate([cell.mean(axis, dtype=np.float64, keepdims=True) for cell in cells], axis)
    return coarse


def _asymmetry(coarse: NDArray[np.float64]) -> Vector:
    """Return (C, 8, 8), without its mean and at unit length, minus its mirror image."""
    unit = _unit(coarse - coarse.mean((1, 2), keepdims=True))
    return (unit - unit[:, ::-1]).ravel()


def _resemblance(vectors: Sequence[Vector]) -> tuple[float, float]:
    """Return the mean cosine of a vector with the sum of all others, all at unit length, and the upper end of
    its 95 % interval."""
    from scipy import stats  # slow to import, and a prediction from a plan does not need it

    unit = np.stack([_unit(vector) for vector in vectors])
    others = unit.sum(0) - unit
    cosines = [float(one @ _unit(rest)) for one, rest in zip(unit, others, strict=True)]
    half_width = stats.t.ppf(0.975, len(cosines) - 1) * stats.sem(cosines)
    return float(np.mean(cosines)), float(np.mean(cosines) + half_width)


def _unit(vector: Vector) -> Vector:
    """Return the vector at length 1; a zero vector stays."""
    return vector / max(float(np.linalg.norm(vector)), np.finfo(np.float64).tiny)
