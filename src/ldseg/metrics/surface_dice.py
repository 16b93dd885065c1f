"""Surface Dice weighted by area, as it is usually reported.

A boundary runs between voxels: each cell of 2^D neighbouring voxel centres that holds both inside and outside
has a surface element, whose area (length in 2D) follows from which corners are inside and from the spacing
(marching cubes; the tables are MONAI's). With d the distance of an element to the nearest of the other mask,

surface_dice = area of all elements with d <= tolerance / area of all elements      (Nikolov et al. 2018)

`nsd` of `ldseg.metrics.surface` counts border voxels instead (as Metrics Reloaded does) and is lower, by
about three points where structures are a few voxels thick. Empty masks and 2D+time follow the rules there. A
cell that touches an ignored voxel has no element.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ldseg.metrics.masks import Mask, MaskPair, frames
from ldseg.metrics.surface import bounding_box

_Elements = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Positions (N, D) in the unit of the spacing, and areas (N,)."""


def surface_dice_metric(pair: MaskPair) -> dict[str, float]:
    """Return `surface_dice` of one class."""
    shares = [_share(frame) for frame in frames(pair) if frame.empty != "both"]
    return {"surface_dice": sum(shares) / len(shares) if shares else 1.0}


def _share(pair: MaskPair) -> float:
    """Return the share of the area within the tolerance."""
    if pair.empty != "none":
        return 0.0
    (places_a, areas_a), (places_b, areas_b) = (
        _elements(pair.prediction, pair),
        _elements(pair.reference, pair),
    )
    area = areas_a.sum() + areas_b.sum()
    if area == 0 or not len(places_a) or not len(places_b):
        return float(area == 0)
    tolerance = pair.tolerance * (1 + 1e-6)  # three steps of 0.1 mm are within 0.3 mm
    near_a, near_b = KDTree(places_b).query(places_a)[0], KDTree(places_a).query(places_b)[0]
    return float((areas_a[near_a <= tolerance].sum() + areas_b[near_b <= tolerance].sum()) / area)


def _elements(mask: Mask, pair: MaskPair) -> _Elements:
    """Return the surface elements of `mask` (*S), which is not empty; beyond the image's edge is outside."""
    from monai.metrics.utils import get_code_to_measure_table  # imported here: MONAI takes seconds to import

    box = bounding_box(mask, margin=1)
    inside, known = np.pad(mask[box], 1), np.pad(pair.valid[box], 1, constant_values=True)
    corners = _boxes(inside)
    codes = np.zeros(corners[0].shape, np.int64)  # one bit a corner
    whole = np.ones(corners[0].shape, dtype=bool)
    for bit, (corner, valid) in enumerate(zip(corners, _boxes(known), strict=True)):
        codes |= corner.astype(np.int64) << (len(corners) - 1 - bit)
        whole &= valid
    places = np.argwhere(whole & (codes > 0) & (codes < 2 ** len(corners) - 1))
    area_of_code = get_code_to_measure_table(pair.spacing)[0].numpy().astype(np.float64)
    areas = area_of_code[codes[tuple(places.T)]]
    first = [side.start for side in box]
    return (places + first) * np.asarray(pair.spacing, np.float64), areas


def _boxes(array: Mask) -> list[Mask]:
    """Return the 2^D corners of every cell, in the order of MONAI's codes: the last axis runs fastest."""
    return [
        array[tuple(slice(step, size - 1 + step) for step, size in zip(steps, array.shape, strict=True))]
        for steps in product((0, 1), repeat=array.ndim)
    ]
