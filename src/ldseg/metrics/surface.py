"""Distances between the surfaces of two masks, in mm, or in voxels where they have no physical spacing.

Surface: the voxels of a mask that share a face with a voxel outside of it; the image's edge counts as
outside, an ignored voxel does not (where annotation ends is no boundary of the structure). With d(p, R) the
distance of a surface voxel p of the prediction to the nearest one of the reference, centre to centre:

hd95_mm = max(95th percentile of d(p, R), 95th percentile of d(r, P))  (Huttenlocher et al. 1993, robust)
assd_mm = mean of all d(p, R) and d(r, P) together
nsd     = share of all surface voxels with d <= tolerance              (Metrics Reloaded, by voxel counts)

`ldseg.metrics.surface_dice` has the surface Dice by area, which is usually higher than `nsd`.

Without a physical spacing the names are `hd95_px` and `assd_px`, and the tolerance is in voxels (`units`).

2D+time: measured per frame with the in-plane spacing and averaged over the frames where either mask has
voxels; distance across time has no unit in mm.

Empty masks. Both empty: distances 0 and NSD 1. One empty: NSD 0 and both distances the diagonal of the image
(of the frame), a length that no real pair of surfaces reaches. Infinity or a gap would be more pure but makes
means useless or, worse, rewards a method for missing the structure altogether. Such records carry "empty".
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from ldseg.data.units import length_unit
from ldseg.metrics.masks import Mask, MaskPair, frames

_DISTANCES = ("hd95", "assd")
PERFECT = {"hd95": 0.0, "assd": 0.0, "nsd": 1.0}
"""Metrics of two equal masks; `_with_units` adds the unit to the names of distances."""


def surface_metrics(pair: MaskPair) -> dict[str, float]:
    """Return `hd95_mm`, `assd_mm` (or `_px`) and `nsd` of one class."""
    records = [_frame_metrics(frame) for frame in frames(pair) if frame.empty != "both"]
    if not records:
        return _with_units(PERFECT, pair)
    return _with_units({name: sum(one[name] for one in records) / len(records) for name in PERFECT}, pair)


def _with_units(record: dict[str, float], pair: MaskPair) -> dict[str, float]:
    """Return `record` with the unit added to the names of distances."""
    unit = length_unit(pair.physical)
    return {f"{name}_{unit}" if name in _DISTANCES else name: value for name, value in record.items()}


def surface_points(mask: Mask, valid: Mask, spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the positions (N, D) of the surface voxels of `mask` (*S), in the unit of `spacing`.

    N is 0 only for an empty mask.

    A mask hemmed in by ignored voxels on all sides has no surface; then all its voxels stand for it.
    """
    if not mask.any():
        return np.empty((0, mask.ndim))
    box = bounding_box(mask, margin=1)
    inside = mask[box]
    outside = np.pad(valid[box] & ~inside, 1, constant_values=True)
    touches_outside = np.asarray(ndimage.binary_dilation(outside), dtype=bool)[(slice(1, -1),) * mask.ndim]
    surface = inside & touches_outside
    corner = np.array([side.start for side in box], dtype=np.float64)
    return (np.argwhere(surface if surface.any() else inside) + corner) * np.array(spacing, dtype=np.float64)


def _frame_metrics(pair: MaskPair) -> dict[str, float]:
    """Return the metrics of one frame without their units; at least one of its masks has a voxel."""
    if pair.empty != "none":
        diagonal = math.hypot(*(n * s for n, s in zip(pair.valid.shape, pair.spacing, strict=True)))
        return {"hd95": diagonal, "assd": diagonal, "nsd": 0.0}
    prediction = surface_points(pair.prediction, pair.valid, pair.spacing)
    reference = surface_points(pair.reference, pair.valid, pair.spacing)
    to_reference, to_prediction = _nearest(prediction, reference), _nearest(reference, prediction)
    every = np.concatenate([to_reference, to_prediction])
    tolerance = pair.tolerance * (1 + 1e-6)  # three steps of 0.1 mm are within 0.3 mm
    return {
        "hd95": float(max(np.percentile(to_reference, 95), np.percentile(to_prediction, 95))),
        "assd": float(every.mean()),
        "nsd": float((every <= tolerance).mean()),
    }


def _nearest(points: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance (N,) of each of `points` (N, D) to the nearest of `targets` (L, D).

    A tree of surface voxels is exact, and in large volumes several times faster and smaller than a distance
    transform of the grid.
    """
    return np.asarray(KDTree(targets).query(points)[0], dtype=np.float64)


def bounding_box(mask: Mask, margin: int) -> tuple[slice, ...]:
    """Return the smallest box around `mask`, enlarged by `margin` voxels within the grid."""
    sides: list[slice] = []
    for axis, size in enumerate(mask.shape):
        others = tuple(i for i in range(mask.ndim) if i != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        sides.append(slice(max(0, int(filled[0]) - margin), min(size, int(filled[-1]) + 1 + margin)))
    return tuple(sides)
