"""Arrays on the image's own grid as NIfTI files, which the browser's viewer reads.

Volumes keep their place in the patient. 2D images and cines have none: their rows and columns are laid out as
in a transverse slice, so that they appear unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray

from ldseg.data.geometry import affine
from ldseg.data.volume import Axes, Volume

LONGEST = 2048
"""Most voxels along an axis that every browser can display."""
MOST = 2**26
"""Most voxels of a layer; with more, browsers run out of memory."""
_COLOUR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_INTEGERS = (np.uint8, np.int16)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def downsampling_steps(shape: Sequence[int], axes: Axes) -> tuple[int, ...]:
    """Return the downsampling step along each axis; 1 along time, so that every frame is shown."""
    step = 1
    while True:
        steps = tuple(1 if axis == "t" else step for axis in axes)
        left = [-(-n // s) for n, s in zip(shape, steps, strict=True)]
        spatial = [n for n, axis in zip(left, axes, strict=True) if axis != "t"]
        if max(spatial) <= LONGEST and (prod(left) <= MOST or max(spatial) == 1):
            return steps
        step += 1


def downsample(array: NDArray[Any], steps: Sequence[int]) -> NDArray[Any]:
    """Return every `steps`-th voxel of (*S) or (*S, 3)."""
    return array[tuple(slice(None, None, step) for step in steps)]


def to_nifti(array: NDArray[Any], grid: Volume, steps: Sequence[int], outlined: bool = False) -> bytes:
    """Return every `steps`-th voxel of `array`, (*S) or RGB (*S, 3), as a NIfTI file on `grid`.

    `outlined` declares a label map, whose structures the viewer draws with an outline.
    """
    kept = downsample(array, steps)
    if kept.ndim > len(steps):
        kept = np.ascontiguousarray(kept).view(_COLOUR)[..., 0]
    flipped = kept.T if grid.axes == "zyx" else kept.T[:, :, None]  # (X, Y, Z) or (X, Y, 1[, T])
    apart = np.diag([*reversed(steps), 1.0]) if grid.axes == "zyx" else np.diag([steps[-1], steps[-2], 1, 1])
    image = Nifti1Image(compact(flipped), ras_affine(grid) @ apart)
    image.header.set_xyzt_units("mm" if grid.physical else "unknown", "sec")
    if outlined:
        image.header.set_intent("label")
    if grid.axes == "tyx":
        image.header["pixdim"][4] = grid.spacing[0]
    return image.to_bytes()


def compact(array: NDArray[Any]) -> NDArray[Any]:
    """Return the same values in the smallest dtype that browsers read: uint8, int16 or float32."""
    if array.dtype.names is not None or array.dtype == np.uint8:
        return array
    for kind in _INTEGERS:
        limits = np.iinfo(kind)
        inside = array.min(initial=0) >= limits.min and array.max(initial=0) <= limits.max
        if inside and np.array_equal(array, array.astype(kind)):
            return array.astype(kind)
    return array.astype(np.float32)


def ras_affine(grid: Volume) -> NDArray[np.float64]:
    """Return the affine (4, 4) from the index (x, y, z) of a voxel to mm in RAS; of a frame in 2D+time."""
    if grid.axes == "zyx":
        return _LPS_TO_RAS @ affine(grid)
    return _LPS_TO_RAS @ np.diag([grid.spacing[-1], grid.spacing[-2], 1.0, 1.0])
