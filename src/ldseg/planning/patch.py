"""Plan the patch that the network sees at once, and the batch size."""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from ldseg.errors import InputError
from ldseg.planning.architecture import Architecture, plan_architecture
from ldseg.planning.memory import training_memory_gb

NEARLY_FITS = 1.4
"""The patch covers the largest image of a set when that is at most this many times the median."""
LARGEST_PATCH = {2: 768 * 768, 3: 128**3}
"""Largest patch in voxels by dimensions; a larger one costs time without adding useful context."""
SMALLEST_BATCH = 2
BATCHES = {2: (4, 16), 3: (2, 2)}
"""Fewest and most cases per step by dimensions, as memory allows."""
VOXELS_PER_STEP = {2: 2**19, 3: 2**20}
"""Within those bounds a step takes up to so many voxels: more small images steady the gradient at no cost."""

Shape = tuple[int, ...]


def plan_patch(
    axes: str, shapes: list[Shape], spacing: tuple[float, ...], width: float, classes: int, budget_gb: float
) -> tuple[Shape, Architecture]:
    """Return the largest useful patch that fits the memory budget; `shapes` are of the resampled images."""
    patch, architecture = _rounded_up(axes, _wanted(shapes), spacing, width)
    while (
        prod(patch) > LARGEST_PATCH[len(patch)]
        or architecture_memory_gb(patch, architecture, classes, SMALLEST_BATCH) > budget_gb
    ):
        smaller, its_architecture = _rounded_up(
            axes, _shrunk(axes, patch, architecture.factor, spacing), spacing, width
        )
        if prod(smaller) >= prod(patch):
            break
        patch, architecture = smaller, its_architecture
    return patch, architecture


def check_patch(axes: str, patch: Shape, factor: Shape) -> None:
    """Raise InputError when `patch` does not divide by `factor`, with the nearest sizes that do."""
    for name, size, step in zip(axes, patch, factor, strict=True):
        if size % step:
            near = [str(n) for n in (size // step * step, ceil(size / step) * step) if n]
            raise InputError(
                f"patch is {size} along {name}, which does not divide by {step}, the product of the strides; "
                f"use {' or '.join(near)}"
            )


def plan_batch(patch: Shape, architecture: Architecture, classes: int, budget_gb: float) -> int:
    """Return the cases per step: 4 to 16 in 2D, 2 in 3D, fewer where memory does not allow.

    A volume has enough voxels for a steady gradient, and twice the steps are worth more than twice the cases.
    """
    fewest, batch = BATCHES[len(patch)]
    while batch > fewest and batch * prod(patch) > VOXELS_PER_STEP[len(patch)]:
        batch //= 2
    while batch > 1 and architecture_memory_gb(patch, architecture, classes, batch) > budget_gb:
        batch //= 2
    return batch


def _wanted(shapes: list[Shape]) -> Shape:
    """Return the largest image where all are of about one size, so that none is tiled; else the median one.

    This holds for all axes together: an image that is tiled along one gains little from fitting another."""
    largest, median = np.max(shapes, axis=0), np.median(shapes, axis=0)
    fits = np.all(largest <= NEARLY_FITS * median)
    return tuple(int(n) for n in (largest if fits else np.ceil(median)))


def _rounded_up(
    axes: str, size: Shape, spacing: tuple[float, ...], width: float
) -> tuple[Shape, Architecture]:
    """Return `size` rounded up to a multiple of its architecture's factor, and that architecture."""
    while True:  # the larger size may be due another level; it grows by a cell at most
        architecture = plan_architecture(axes, size, spacing, width)
        rounded = tuple(ceil(n / step) * step for n, step in zip(size, architecture.factor, strict=True))
        if rounded == size:
            return size, architecture
        size = rounded


def _shrunk(axes: str, patch: Shape, factor: Shape, spacing: tuple[float, ...]) -> Shape:
    """Return the patch one step smaller along its longest axis in mm, so that context stays isotropic.

    Frames are not mm: time is cut only when the plane cannot be.
    """
    extents = [
        (name != "t", n * step, -axis)
        for axis, (name, n, step, f) in enumerate(zip(axes, patch, spacing, factor, strict=True))
        if n > 2 * f and n > 8
    ]
    if not extents:
        return patch
    axis = -max(extents)[2]
    return tuple(n - factor[axis] if i == axis else n for i, n in enumerate(patch))


def architecture_memory_gb(patch: Shape, architecture: Architecture, classes: int, batch: int) -> float:
    """Return the estimated peak of a training step in GB."""
    return training_memory_gb(patch, architecture.strides, architecture.widths, classes, batch)
