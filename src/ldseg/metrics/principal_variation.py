"""The principal variation of posterior samples: what differs most among them, as label maps along one axis.

Each structure of each sample becomes a signed distance map phi, positive inside and limited to a reach, which
is also how far away a structure is that a sample lacks. The first principal component of the samples' maps
(Leventon et al. 2000) gives a direction in which they differ most. At c standard deviations along it

    phi(c) = mean + c sigma mode

and a voxel belongs to the structure with the largest phi(c) if that is above 0, else to the background.
*S is the image grid, n the number of samples. Voxels on which all samples agree stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

DEVIATIONS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
"""Places along the variation, in standard deviations, where nothing else is asked for."""
_REACH = 8.0
"""Limit of distances, in units of the smallest voxel size."""
_MARGIN = 8
"""Voxels kept around those on which samples differ."""

Labels = NDArray[np.integer]


@dataclass(frozen=True)
class PrincipalVariation:
    """Label maps along the principal variation."""

    deviations: tuple[float, ...]
    """Places along it, in standard deviations; above 0 structures are larger in all."""
    maps: tuple[Labels, ...]
    """One label map (*S) for each place."""
    explained: float
    """Share of the variance of the distance maps that lies along it, 0 to 1."""


def principal_variation(
    samples: Sequence[Labels],
    classes: int,
    spacing: Sequence[float],
    deviations: Sequence[float] = DEVIATIONS,
) -> PrincipalVariation:
    """Return the principal variation of samples, label maps (*S) with class indices 0 to `classes` - 1.

    `spacing` is the voxel size along each axis. Samples that are all equal give that map at every place.

    Raises:
        ValueError: fewer than two samples.
    """
    if len(samples) < 2:
        raise ValueError(f"{len(samples)} samples have no variation; at least 2 are needed")
    stack = np.stack(samples)
    differing = (stack != stack[0]).any(0)
    if not differing.any():
        return PrincipalVariation(tuple(deviations), tuple(stack[0] for _ in deviations), 0.0)
    region = tuple(
        slice(max(0, int(places.min()) - _MARGIN), int(places.max()) + 1 + _MARGIN)
        for places in np.nonzero(differing)
    )
    maps = _distance_maps(stack[(slice(None), *region)], classes, spacing)
    mean = maps.mean(0)
    direction, explained = _first_component(maps - mean)
    shape = (classes - 1, *stack[(0, *region)].shape)
    found: list[Labels] = []
    for place in deviations:
        labels = stack[0].copy()
        distances = (mean + place * direction).reshape(shape)
        # The structure of the largest distance if that is above 0, else background.
        moved = np.where(distances.max(0) > 0, distances.argmax(0) + 1, 0).astype(stack.dtype)
        labels[region] = np.where(differing[region], moved, labels[region])
        found.append(labels)
    return PrincipalVariation(tuple(deviations), tuple(found), explained)


def _distance_maps(stack: Labels, classes: int, spacing: Sequence[float]) -> NDArray[np.float32]:
    """Return the signed distances to each structure of each sample, (n, structures * voxels)."""
    units = np.asarray(spacing) / min(spacing)
    found = np.empty((len(stack), classes - 1, stack[0].size), np.float32)
    for one, maps in zip(stack, found, strict=True):
        for k, row in enumerate(maps, start=1):
            row[:] = _signed_distance(one == k, units).ravel()
    return found.reshape(len(stack), -1)


def _signed_distance(mask: NDArray[np.bool_], units: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance to the mask's edge, positive inside, limited to the reach."""
    if mask.all() or not mask.any():
        return np.where(mask, _REACH, -_REACH)
    inside, outside = (distance_transform_edt(part, sampling=units) for part in (mask, ~mask))
    return np.clip(np.asarray(inside) - np.asarray(outside), -_REACH, _REACH)


def _first_component(centered: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Return one standard deviation along the first principal component, and its share of the variance.

    Of the two directions it is the one in which the structures grow."""
    gram = centered @ centered.T / len(centered)
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    direction = vectors[:, -1].astype(np.float32) @ centered / np.sqrt(len(centered))
    sign = 1.0 if direction.sum() >= 0 else -1.0
    return (sign * direction).astype(np.float32), float(values[-1] / max(values.sum(), 1e-12))
