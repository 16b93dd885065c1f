"""Names of the units of lengths and sizes.

A volume with a physical spacing is measured in mm; without one (`Volume.physical` is False) a voxel counts as
1 along every axis of space, and what is measured is in voxels (3D) or pixels (2D, 2D+time). Names of metrics
end in `mm`, `mm2` or `mm3` for the former, in `px` for the latter whatever the dimensions. Numbers of
different units are never averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

from ldseg.data.volume import Axes
from ldseg.errors import InputError

LengthUnit = Literal["mm", "px"]

HOW_TO_ADD_SPACING = "add a spacing.csv beside the images"
_SUPERSCRIPTS = {"^2": "²", "^3": "³"}


def length_unit(physical: bool) -> LengthUnit:
    """Return the unit of a length as metric names end in it, e.g. `hd95_mm`, `hd95_px`."""
    return "mm" if physical else "px"


def area_unit(physical: bool) -> Literal["mm2", "px"]:
    """Return the unit of an area as metric names end in it, e.g. `area_mm2`, `area_px`."""
    return "mm2" if physical else "px"


def size_suffix(axes: Axes, physical: bool) -> Literal["mm3", "mm2", "px"]:
    """Return the unit of a structure's size as metric names end in it; in 2D+time that of one frame."""
    return "mm3" if physical and axes == "zyx" else area_unit(physical)


def voxel_word(axes: Axes) -> Literal["voxel", "pixel"]:
    """Return what one element of the grid is called."""
    return "voxel" if axes == "zyx" else "pixel"


def size_word(axes: Axes) -> Literal["volume", "area"]:
    """Return what the size of a structure is called: an area in a 2D image, else a volume."""
    return "area" if axes == "yx" else "volume"


def length_words(axes: Axes, physical: bool) -> str:
    """Return the unit of a length in words: "mm", "voxels" or "pixels"."""
    return "mm" if physical else f"{voxel_word(axes)}s"


def length_text(axes: Axes, physical: bool, length: float) -> str:
    """Return a length with its unit, e.g. "1 mm", "1 pixel" or "2 pixels"."""
    unit = length_words(axes, physical)
    return f"{length:g} {unit if physical or length != 1 else voxel_word(axes)}"


def size_unit(axes: Axes, physical: bool) -> str:
    """Return the unit of a structure's size, as files state it: "mm^3", "mm^2", "voxels", "pixels".

    In 2D+time it ends in " summed over frames".
    """
    unit = ("mm^3" if axes == "zyx" else "mm^2") if physical else f"{voxel_word(axes)}s"
    return unit + (" summed over frames" if axes == "tyx" else "")


def pretty(unit: str) -> str:
    """Return `unit` as people write it, e.g. "mm³" for "mm^3"."""
    for plain, raised in _SUPERSCRIPTS.items():
        unit = unit.replace(plain, raised)
    return unit


def voxel_size(axes: Axes, spacing: Sequence[float]) -> float:
    """Return the size of one voxel in the unit of `size_unit`: the product of the steps in space."""
    return prod(step for axis, step in zip(axes, spacing, strict=True) if axis != "t")


def spacing_words(axes: Axes, spacing: Sequence[float], physical: bool) -> str:
    """Return a spacing with its unit, or a statement that there is none."""
    if not physical and all(step == 1.0 for axis, step in zip(axes, spacing, strict=True) if axis != "t"):
        return f"unknown: sizes are in {voxel_word(axes)}s"
    space = " x ".join(f"{step:.4g}" for axis, step in zip(axes, spacing, strict=True) if axis != "t")
    frames = f", frames {spacing[0]:.4g} apart" if axes == "tyx" else ""  # in seconds, or counted
    return f"{space} {length_words(axes, physical)}{frames}"


def mismatch_note(axes: Axes, physical: bool, trained_physical: bool | None) -> str | None:
    """Return the sentence that says that image and training differ in having a physical spacing, or None.

    `trained_physical` is None for a plan that did not record it.
    """
    word = voxel_word(axes)
    if trained_physical is None or physical == trained_physical:
        return None
    if physical:
        return (
            f"it has a physical spacing, but the model was trained without one: its {word}s are taken "
            "as they are, not resampled"
        )
    return (
        f"nothing says how large its {word}s are, but the model was trained with a physical spacing: its "
        f"{word}s are taken as they are, and sizes are in {word}s; {HOW_TO_ADD_SPACING} to give their size"
    )


class OneUnit:
    """Refuses a set in which some images have a physical spacing and others have none."""

    def __init__(self) -> None:
        self._first: tuple[str, bool] | None = None

    def add(self, name: str, physical: bool) -> None:
        """Add the next case. Raises InputError if its unit differs from that of the cases before."""
        first, known = self._first = self._first or (name, physical)
        if physical == known:
            return
        with_spacing, without = (name, first) if physical else (first, name)
        raise InputError(
            f"{without}: has no physical spacing where {with_spacing} has one, and mm and voxels cannot be "
            "averaged; list all images in a spacing.csv beside them (file name, mm)"
        )
