"""Bring a volume to the network's grid (orient, resample, normalize), and results back to the file's.

K classes; *S the file's grid; *S' the grid of the plan's spacing. Nothing is padded or cropped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ldseg.data.class_indices import class_indices
from ldseg.data.units import length_words, mismatch_note
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.planning.heuristics import ANISOTROPIC, resampled_shape
from ldseg.planning.orientation import Orientation, orientation_of
from ldseg.planning.plan import Plan
from ldseg.preprocessing.normalize import normalize
from ldseg.preprocessing.number_scale import converted
from ldseg.preprocessing.orient import from_canonical, to_canonical
from ldseg.preprocessing.patches import crop
from ldseg.preprocessing.resample import resample_image, resample_labels, resample_probabilities
from ldseg.utils.system import require_memory

_LARGEST_GROWTH, _ALONG_AN_AXIS = 2**10, 2**6
"""Largest ratio of the network's voxels to the image's own, in total and along an axis; a larger ratio comes
of a wrong spacing in a header."""
_LARGEST_SHRINKAGE = 2**9
"""Largest number of the image's own voxels per voxel of the network: 8 along each axis of a volume, 22 of a
2D image, which a slide at full magnification may need."""
_COPIES = 3
"""Copies of the preprocessed image that resampling needs."""


@dataclass(frozen=True)
class GridTransform:
    """The geometry of the network's grid and of the way back to the file's."""

    orientation: Orientation
    canonical_shape: tuple[int, ...]
    """The file's grid in canonical order of axes."""
    shape: tuple[int, ...]
    """*S', the network's grid."""
    spacing: tuple[float, ...]
    """Size of a voxel of *S', in its order: in mm, or in voxels of the file where it is not `physical`."""
    physical: bool = True
    """Whether the file has a physical spacing."""


@dataclass(frozen=True)
class PreprocessedImage:
    """An image on the network's grid with normalized intensities, in memory."""

    array: NDArray[np.float32]
    """(M, *S')."""
    grid: GridTransform
    notes: tuple[str, ...] = ()
    """Assumptions about the number scale, one sentence each."""

    def read(self, corner: Sequence[int], patch: Sequence[int]) -> NDArray[np.float32]:
        """See `PatchSource`."""
        return crop(self.array, corner, patch, 0.0)


class PatchSource(Protocol):
    """A preprocessed image, in memory or not, of which patches are read."""

    @property
    def grid(self) -> GridTransform:
        """Return its grid."""
        ...

    def read(self, corner: Sequence[int], patch: Sequence[int]) -> NDArray[np.float32]:
        """Return the patch (M, *patch) at `corner`; 0 outside of the image, as in training."""
        ...


def preprocess_image(volume: Volume, plan: Plan, name: str = "image") -> PreprocessedImage:
    """Return an image on the network's grid with normalized intensities; `name` is for messages.

    Raises InputError for other axes or channels than the plan's, for voxels that are not finite, and for
    numbers that are on no scale that the plan knows (see `number_scale`).
    """
    if len(volume.array) != len(plan.channels):
        wanted = ", ".join(channel.name for channel in plan.channels)
        raise InputError(
            f"{name}: has {len(volume.array)} channels, the plan has {len(plan.channels)} ({wanted}); "
            "give an image of the same channels"
        )
    grid = grid_transform(volume, plan, name)
    require_memory(Path(name), len(volume.array) * prod(grid.shape), 4 * (_COPIES - 1))
    if not np.isfinite(volume.array).all():
        raise InputError(
            f"{name}: has voxels that are nan or infinite; replace them, e.g. by the lowest value"
        )
    values, notes = converted(volume, plan, name)
    array = to_canonical(values, grid.orientation)
    thick = thick_axes(volume, grid, plan)
    resampled = resample_image(array, grid.shape, thick)
    return PreprocessedImage(normalize(resampled, plan.channels), grid, notes)


def thick_axes(volume: Volume, grid: GridTransform, plan: Plan) -> list[int]:
    """Return the axes of the network's grid along which `volume` has thick slices; time has none."""
    finest = min(volume.spacing[-2:]) if volume.axes != "zyx" else min(volume.spacing)
    return [
        axis
        for axis, step in enumerate(grid.orientation.permuted(volume.spacing))
        if plan.axes[axis] != "t" and step > ANISOTROPIC * finest
    ]


def grid_transform(volume: Volume, plan: Plan, name: str = "image") -> GridTransform:
    """Return the geometry from the grid of `volume` to the network's. Raises InputError for other axes."""
    if volume.axes != plan.axes:
        raise InputError(
            f"{name}: has axes {volume.axes}, the plan was made for {plan.axes}; give an image of that kind"
        )
    orientation = orientation_of(volume)
    canonical = orientation.permuted(volume.shape)
    spacing = orientation.permuted(volume.spacing)
    # mm and voxels cannot be compared: such an image is not resampled, and a note says so (`notes_of`).
    comparable = plan.had_spacing in (None, volume.physical)
    resample = plan.resample and comparable
    shape = resampled_shape(plan.axes, canonical, spacing, plan.spacing) if resample else canonical
    growth = [new / n for new, n in zip(shape, canonical, strict=True)]
    shrinkage = [1.0]  # voxels of the image for one of the network's, along each axis of space
    if resample:
        steps = zip(plan.axes, canonical, spacing, plan.spacing, strict=True)
        shrinkage = [wanted / step if n > 1 else 1.0 for axis, n, step, wanted in steps if axis != "t"]
    too_large = prod(growth) > _LARGEST_GROWTH or max(growth) > _ALONG_AN_AXIS
    too_small = prod(shrinkage) > _LARGEST_SHRINKAGE or max(shrinkage) > _ALONG_AN_AXIS
    if too_large or too_small:
        unit = length_words(plan.axes, volume.physical)
        raise InputError(
            f"{name}: has a spacing of {spacing} {unit} where the model was trained at {plan.spacing}, and "
            f"would become {' x '.join(map(str, shape))} voxels; correct its spacing"
        )
    size = tuple(n * step / new for n, step, new in zip(canonical, spacing, shape, strict=True))
    return GridTransform(orientation, canonical, shape, size, volume.physical)


def notes_of(volume: Volume, plan: Plan) -> tuple[str, ...]:
    """Return notes for the user on how the image was read and on its spacing."""
    note = mismatch_note(volume.axes, volume.physical, plan.had_spacing)
    return volume.notes if note is None else (*volume.notes, note)


def preprocess_labels(volume: Volume, plan: Plan, name: str = "labels") -> NDArray[np.int16]:
    """Return class indices 0..K-1 (*S') of a label volume, -1 where the plan's ignore id is.

    Raises InputError for an id that the plan does not know, and for other axes.
    """
    grid = grid_transform(volume, plan, name)
    try:
        indices = class_indices(volume.array[0], plan.classes, plan.ignore_id, plan.labels_above_zero)
    except ValueError as problem:
        raise InputError(f"{name}: {problem}; correct the mask or declare the ids") from problem
    return resample_labels(to_canonical(indices[None], grid.orientation)[0], grid.shape)


def restore_probabilities(probabilities: NDArray[np.float32], grid: GridTransform) -> NDArray[np.float32]:
    """Return `probabilities` (K, *S') on the file's own grid (K, *S)."""
    _check_grid(probabilities.shape[1:], grid)
    resampled = resample_probabilities(probabilities, grid.canonical_shape)
    return np.ascontiguousarray(from_canonical(resampled, grid.orientation))


def restore_labels(indices: NDArray[Any], grid: GridTransform, plan: Plan) -> NDArray[Any]:
    """Return class indices (*S') as file ids (1, *S) on the file's own grid, in the smallest integer type.

    Exact where the grids are equal. Where they are not, resampling probabilities before the decision for a
    class (`restore_probabilities`) is smoother.
    """
    _check_grid(indices.shape, grid)
    resampled = resample_labels(indices.astype(np.int16), grid.canonical_shape)
    own = from_canonical(resampled[None], grid.orientation)
    return np.ascontiguousarray(labels_to_ids(own, plan))


def labels_to_ids(indices: NDArray[Any], plan: Plan) -> NDArray[Any]:
    """Return class indices of any shape as the ids of the files, in the smallest type that holds them."""
    ids = list(plan.classes.values())
    if plan.ignore_id is not None:
        ids.append(plan.ignore_id)  # index -1 reads the last entry
    elif indices.size and indices.min() < 0:
        raise ValueError("index -1 (ignore) in a plan without an ignore id")
    smallest = np.result_type(*(np.min_scalar_type(i) for i in ids))
    return np.array(ids, dtype=smallest)[indices]


def _check_grid(shape: tuple[int, ...], grid: GridTransform) -> None:
    if tuple(shape) != grid.shape:
        raise ValueError(f"grid {tuple(shape)} is not the preprocessed one, {grid.shape}")
