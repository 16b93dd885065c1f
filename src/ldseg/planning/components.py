"""Measure the widths of the connected components of a mask.

The width of a component along an axis is the diameter of the ball (disc in 2D) with the same mean run of
voxels along that axis, at most the component's extent. A folded sheet or a ring has a large extent but is
thin, and what a latent grid must resolve is the thinness.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

SPECK_VOXELS = 4
SPECK_SHARE = 0.01
"""Components smaller than this share of the largest one in the case are ignored as annotation errors."""
_DIAMETER_PER_MEAN_RUN = {2: 4 / math.pi, 3: 1.5}
"""Diameter over mean chord of a disc and a ball, by dimensions."""


def component_widths(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (N, D): widths in voxels of the N components of `mask` (*S), without specks."""
    from scipy import ndimage  # slow to import, and a prediction from a plan does not need it

    box = ndimage.find_objects(mask.astype(np.uint8))
    if not box:
        return np.zeros((0, mask.ndim))
    labelled, count = cast(tuple[NDArray[np.int32], int], ndimage.label(mask[box[0]]))
    sizes = np.bincount(labelled.ravel(), minlength=count + 1)[1:]
    keep = sizes >= max(SPECK_VOXELS, SPECK_SHARE * sizes.max())
    extents = np.array([[s.stop - s.start for s in found] for found in ndimage.find_objects(labelled)])
    runs = np.stack([_run_lengths(labelled, axis, sizes) for axis in range(mask.ndim)], axis=1)
    return np.minimum(runs * _DIAMETER_PER_MEAN_RUN[mask.ndim], extents)[keep]


def _run_lengths(labelled: NDArray[Any], axis: int, sizes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean length in voxels of each component's unbroken runs along `axis`."""
    along = np.moveaxis(labelled, axis, 0)
    starts = along.copy()
    starts[1:][along[:-1] == along[1:]] = 0
    return sizes / np.bincount(starts.ravel(), minlength=len(sizes) + 1)[1:]
