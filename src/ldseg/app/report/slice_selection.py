"""Select the slice of a case that a figure shows, and the part of it that is enlarged.

Arrays here are in the canonical order of axes (see `planning.orientation`), (*S). Slices lie as radiologists
see them: in transverse ones the patient's right is on the left and anterior is up, in the others superior is
up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.volume import Axes

_THICK = 2.0  # times the finest step: across other axes a slice would be blocky
_WORTH_IT = 0.65  # of a slice's sides: enlarging a larger part gains nothing
_AROUND = 1.8  # sides of the enlarged part, as a multiple of the structure's
_LEAST = 24  # pixels of an enlarged part
_SIDES = (
    "counted from the feet; the patient's right is on the left, front is up",
    "counted from the front; the patient's right is on the left, head is up",
    "counted from the patient's right; front is on the left, head is up",
)

CropBox = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""


@dataclass(frozen=True)
class SliceSelection:
    """A slice across `axis` at `index`; `axis` is None in 2D."""

    axes: Axes
    axis: int | None
    index: int
    height: float
    """Height of a pixel in mm."""
    width: float
    """Width of a pixel in mm."""

    def cut(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the slice (rows, columns) of an array (*S)."""
        if self.axis is None:
            return array
        flat = np.take(array, self.index, axis=self.axis)
        return flat[::-1] if self.axes == "zyx" and self.axis > 0 else flat

    def describe(self) -> str:
        """Return the slice's direction and number for people; empty in 2D."""
        if self.axis is None:
            return ""
        if self.axes == "tyx":
            return f"frame {self.index + 1}"
        return f"{('transverse', 'coronal', 'sagittal')[self.axis]} slice {self.index + 1}"

    def sides(self) -> str:
        """Return which sides of the patient are left and up and where slices are counted from; empty but in
        3D."""
        return "" if self.axis is None or self.axes != "zyx" else _SIDES[self.axis]


def select_slice(structures: NDArray[np.bool_], spacing: tuple[float, ...], axes: Axes) -> SliceSelection:
    """Return the slice with the largest area of `structures` (*S), the middle one of those of equal area.

    In 2D+time it is a frame; in 3D any of the three directions, as long as its pixels are not much coarser
    one way than the other. Without structures it is the middle.
    """
    if axes == "yx":
        return SliceSelection(axes, None, 0, *spacing)
    candidates = [0] if axes == "tyx" else _fine_directions(spacing)
    best: tuple[float, int, int] = (-1.0, 0, 0)
    for axis in candidates:
        others = tuple(n for n in range(3) if n != axis)
        areas = structures.sum(axis=others) * spacing[others[0]] * spacing[others[1]]
        largest = np.flatnonzero(areas == areas.max())
        if float(areas.max()) > best[0]:
            best = float(areas.max()), axis, int(largest[len(largest) // 2])
    height, width = (step for n, step in enumerate(spacing) if n != best[1])
    return SliceSelection(axes, best[1], best[2], height, width)


def select_crop(structures: NDArray[np.bool_], height: float, width: float) -> CropBox | None:
    """Return the part of a slice (rows, columns) around its structures, square in mm.

    None if that is most of the slice, or there are no structures. `height` and `width` are those of a pixel.
    """
    rows, columns = np.flatnonzero(structures.any(1)), np.flatnonzero(structures.any(0))
    if not len(rows):
        return None
    extents = (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    steps = (height, width)
    side = _AROUND * max(n * step for n, step in zip(extents, steps, strict=True))
    side = max(side, _LEAST * max(steps))
    wanted = [
        min(int(np.ceil(side / step)), whole) for step, whole in zip(steps, structures.shape, strict=True)
    ]
    if all(n > _WORTH_IT * whole for n, whole in zip(wanted, structures.shape, strict=True)):
        return None
    middles = ((rows[0] + rows[-1] + 1) / 2, (columns[0] + columns[-1] + 1) / 2)
    top, left = (
        int(np.clip(round(middle - n / 2), 0, whole - n))
        for middle, n, whole in zip(middles, wanted, structures.shape, strict=True)
    )
    return top, left, wanted[0], wanted[1]


def _fine_directions(spacing: tuple[float, ...]) -> list[int]:
    """Return the axes across which the pixels of a slice are about square, else the coarsest axis."""
    found = [
        axis
        for axis in range(3)
        if (rest := [step for n, step in enumerate(spacing) if n != axis]) and max(rest) <= _THICK * min(rest)
    ]
    return found or [int(np.argmax(spacing))]
