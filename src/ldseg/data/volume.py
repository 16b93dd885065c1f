"""`Volume`: voxels with their position in space, the only container of voxels passed between packages.

Notation: M channels; *S the spatial (and time) grid in the order of `axes`, slowest first, for example
(Z, Y, X) for "zyx", (T, Y, X) for "tyx", (Y, X) for "yx".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ldseg.errors import InputError

Axes = Literal["yx", "zyx", "tyx"]
Kind = Literal["image", "labels"]


@dataclass(frozen=True)
class Volume:
    """An image or a label map on its own grid."""

    array: NDArray[Any]
    """(M, *S). Images keep the file's numbers as float32; labels are (1, *S) of an integer type."""
    spacing: tuple[float, ...]
    """Size of a voxel along each of `axes`, in mm (seconds for "t", or frames); see `physical`."""
    origin: tuple[float, ...]
    """Position of the first voxel's centre in mm, order (x, y[, z]), LPS as in DICOM and ITK; for "tyx" the
    third is the time of the first frame."""
    direction: tuple[float, ...]
    """Direction cosines, row-major (x, y[, z]) matrix whose columns are the index axes x, y[, z], LPS."""
    axes: Axes
    kind: Kind
    native: Any = field(default=None, repr=False, compare=False)
    """Header of the file it was read from (the reader's own type): the same format is written bit-equal."""
    stored: str = field(default="", compare=False)
    """Number type in the file, e.g. "int16"; empty if the voxels were not read from a file."""
    physical: bool = field(default=True, compare=False)
    """False if the voxel size is unknown: `spacing` is then 1.0 along every spatial axis, and all
    lengths, areas and volumes computed from it are in voxels."""
    stated_spacing: tuple[float, ...] | None = field(default=None, compare=False)
    """What the file states where another `spacing` was given beside it; files written for it keep this."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Assumptions and changes made on reading, one sentence each, shown to the user."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the grid *S, without the channels."""
        return tuple(int(n) for n in self.array.shape[1:])

    def with_spacing(self, spacing: tuple[float, ...]) -> Volume:
        """Return the volume with a `spacing` in mm that counts in place of what its file states."""
        stated = self.stated_spacing or (self.spacing if self.physical else None)
        return replace(self, spacing=spacing, physical=True, stated_spacing=stated)

    def as_stated(self) -> Volume:
        """Return the volume with the geometry of its file, where another spacing was given beside it."""
        if self.stated_spacing is None:
            return self
        return replace(self, spacing=self.stated_spacing, stated_spacing=None)

    def with_array(self, array: NDArray[Any], kind: Kind) -> Volume:
        """Return a volume on the same grid with other voxels; `array` is (M, *S) with the same *S."""
        if tuple(array.shape[1:]) != self.shape:
            raise ValueError(f"array of shape {array.shape[1:]} does not fit the grid {self.shape}")
        return replace(self, array=array, kind=kind)


def merge_notes(*volumes: Volume) -> tuple[str, ...]:
    """Return the notes of several volumes without duplicates."""
    return tuple(dict.fromkeys(note for volume in volumes for note in volume.notes))


def volume_of_array(array: NDArray[Any], axes: Axes, spacing: Sequence[float] | None = None) -> Volume:
    """Return an array (*S) or (M, *S) as an image whose axes run along those of the world, z, y, x to S, P,
    L.

    `spacing` is the size of a voxel along each of `axes`, None where it is unknown.

    Raises:
        InputError: the array is not of numbers or has other axes, or the spacing does not suit them.
    """
    number = len(axes)
    if array.dtype.kind not in "buif" or array.ndim not in (number, number + 1):
        found = f"{array.dtype.name} of shape {array.shape}"
        raise InputError(f"the array is {found}; give numbers on the axes {', '.join(axes)}, channels first")
    if spacing is not None and (len(spacing) != number or not all(0 < one < np.inf for one in spacing)):
        raise InputError(f"spacing is {tuple(spacing)}; give a size above 0 for each of {', '.join(axes)}")
    voxels = np.asarray(array if array.ndim > number else array[None], dtype=np.float32)
    size = (1.0,) * number if spacing is None else tuple(float(one) for one in spacing)
    origin, direction = (0.0,) * number, tuple(float(one) for one in np.eye(number).ravel())
    stored, physical = array.dtype.name, spacing is not None
    return Volume(voxels, size, origin, direction, axes, "image", stored=stored, physical=physical)
