"""Surfaces of structures in space, as files that the browser's viewer reads.

The file is MZ3: a header, triangles, and their corners in mm (RAS), as `nifti.to_nifti` places voxels.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter

from ldseg.app.viewer.nifti import downsampling_steps, ras_affine
from ldseg.data.volume import Volume

_MOST = 2**20
"""Most voxels of which a surface is made; a larger structure is made coarser."""
_MAGIC, _FACES_AND_VERTICES = 0x5A4D, 3
_PADDING = 2
_SMOOTHING = 0.7
"""Standard deviation in voxels of the Gaussian that takes the steps of voxels off the surface."""


def surface(indices: NDArray[np.integer], k: int, grid: Volume) -> bytes | None:
    """Return the surface of class `k` of a map of class indices (Z, Y, X) on `grid` as an MZ3 file, None
    where the map has no such class.

    The surface is the level set of one half of the smoothed mask (marching cubes, Lewiner et al. 2003).
    """
    from skimage.measure import marching_cubes  # here, because a start without surfaces should not wait

    places = find_objects((indices == k).astype(np.uint8))
    if not places:
        return None
    mask, steps = _coarse_mask(indices[places[0]] == k, downsampling_steps(grid.shape, grid.axes))
    padded = gaussian_filter(np.pad(mask, _PADDING), _SMOOTHING)
    level = min(0.5, float(padded.max()) / 2)  # thin structures are below a half everywhere
    vertices, faces, _, _ = marching_cubes(padded, level)
    offset = [place.start + (step - 1) / 2 for place, step in zip(places[0], steps, strict=True)]
    voxels = (vertices - _PADDING) * steps + offset  # (n, 3): z, y, x in the image
    matrix = ras_affine(grid)[:3]
    corners = voxels[:, ::-1] @ matrix[:, :3].T + matrix[:, 3]
    head = struct.pack("<HHIII", _MAGIC, _FACES_AND_VERTICES, len(faces), len(corners), 0)
    return head + faces.astype("<u4").tobytes() + corners.astype("<f4").tobytes()


def _coarse_mask(
    mask: NDArray[np.bool_], steps: Sequence[int]
) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """Return the share of the mask in each block of voxels, and the blocks' size: multiples of `steps` with
    which there are at most `_MOST` blocks."""
    factor = 1
    while prod(-(-extent // (factor * n)) for extent, n in zip(mask.shape, steps, strict=True)) > _MOST:
        factor += 1
    size = tuple(factor * step for step in steps)
    shares = mask.astype(np.float32)
    for axis, step in enumerate(size):
        sums = np.add.reduceat(shares, range(0, shares.shape[axis], step), axis=axis)
        shares = (sums / step).astype(np.float32)
    return shares, size
