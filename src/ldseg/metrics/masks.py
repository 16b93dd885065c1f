"""The two masks of one class on one grid, the input of every metric."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ldseg.data.volume import Axes

Mask = NDArray[np.bool_]
Empty = Literal["none", "prediction", "reference", "both"]


@dataclass(frozen=True)
class MaskPair:
    """Prediction and reference of one class; both are False wherever `valid` is (see `mask_pair`)."""

    prediction: Mask
    """(*S)"""
    reference: Mask
    """(*S)"""
    valid: Mask
    """(*S) False where the reference carries the ignore id."""
    spacing: tuple[float, ...]
    """Size of a voxel along each axis of *S, in mm; 1.0 in space where it is not `physical`."""
    axes: Axes
    tolerance: float
    """Distance up to which two surfaces count as equal (NSD), in mm, or in voxels where not `physical`."""
    physical: bool = True
    """Whether lengths are in mm; see `data.units`."""

    @property
    def empty(self) -> Empty:
        """Return which of the two masks has no voxel."""
        prediction, reference = bool(self.prediction.any()), bool(self.reference.any())
        if prediction:
            return "none" if reference else "reference"
        return "prediction" if reference else "both"


def mask_pair(
    prediction: Mask,
    reference: Mask,
    valid: Mask,
    spacing: tuple[float, ...],
    axes: Axes,
    tolerance: float,
    physical: bool = True,
) -> MaskPair:
    """Return both masks (*S) without the ignored voxels."""
    return MaskPair(prediction & valid, reference & valid, valid, spacing, axes, tolerance, physical)


def frames(pair: MaskPair) -> Iterator[MaskPair]:
    """Yield the pair itself, or in 2D+time each frame with a labelled pixel, with the in-plane spacing."""
    if pair.axes != "tyx":
        yield pair
        return
    for prediction, reference, valid in zip(pair.prediction, pair.reference, pair.valid, strict=True):
        if valid.any():
            yield replace(
                pair,
                prediction=prediction,
                reference=reference,
                valid=valid,
                spacing=pair.spacing[1:],
                axes="yx",
            )
