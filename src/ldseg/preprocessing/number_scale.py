"""Convert the numbers of an image to the scale of the training images, or refuse the image.

The same color image with 8 bits, with 16 bits and as floats from 0 to 1 must give the same answer. Gray
images that are normalized by their own mean and deviation need no scale. M
channels; *S the image's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.ranges import (
    AIR,
    ChannelRange,
    ImageRange,
    image_range,
    misses_offset,
    scale_name,
    white_level,
    white_of,
)
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.planning.plan import Plan
from ldseg.preprocessing.normalize import FLAT, OWN_SCALE

_DIMMER = 4.0
"""An image of the training's own number type keeps its scale down to this fraction of their least maximum."""
_NARROW = 8.0
"""A range this many times narrower than in any training image cannot be in Hounsfield units."""
_FEW = 1e-4
"""Share of the voxels that may differ in an image that counts as constant."""

_PART = 2**20
"""Voxels that are compared at once, for memory."""


@dataclass(frozen=True)
class NumberScale:
    """Factor from the numbers of an image to those of the training images."""

    factor: float = 1.0
    notes: tuple[str, ...] = ()
    """Assumptions, one sentence each."""


def converted(image: Volume, plan: Plan, name: str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the voxels (M, *S) of a volume on the number scale of the training images, and assumptions.

    Raises InputError as `number_scale`.
    """
    array = np.asarray(image.array, dtype=np.float32)
    if all(channel.scheme in OWN_SCALE for channel in plan.channels):
        return array, ()
    scale = number_scale(image_range(name, image), plan)
    return array if scale.factor == 1.0 else array * np.float32(scale.factor), scale.notes


def number_scale(image: ImageRange, plan: Plan) -> NumberScale:
    """Return the scale of an image with these numbers; `image.name` is for messages.

    Raises InputError for colours of no known scale, and for CT that is not in the training's units.
    """
    if any(channel.scheme == "range" for channel in plan.channels):
        return _scale_of_colors(image, plan)
    notes: list[str] = []
    for n, (channel, usual) in enumerate(zip(plan.channels, plan.ranges, strict=False)):
        if channel.scheme == "foreground":
            notes += _check_units(image, n, channel.name, usual)
        if channel.scheme == "none":
            _check_extent(image, n, channel.name, usual)
    return NumberScale(notes=tuple(notes))


def _scale_of_colors(image: ImageRange, plan: Plan) -> NumberScale:
    """Return the scale of a color image, as `number_scale`."""
    colors = [channel for channel in plan.channels if channel.scheme == "range"]
    low, high = min(channel.low for channel in colors), max(channel.high for channel in colors)
    wanted = white_level("float32", low, high) if low == 0 else None
    if wanted is None:
        return NumberScale()
    own, highest = white_of(image), max(image.maximum)
    if own is None:
        raise InputError(
            f"{image.name}: has values from {min(image.minimum):g} to {highest:g}, which is no number scale "
            "of colour images; save it with 8 bits (0 to 255), 16 bits, or as floats from 0 to 1"
        )
    known = [usual for usual in plan.ranges if image.stored in usual.stored]
    of_their_kind = bool(known) and highest >= min(usual.lowest_maximum for usual in known) / _DIMMER
    if own == wanted or (of_their_kind and own < wanted):
        return NumberScale()
    said = f"its numbers were read as {scale_name(own)} and converted to the {scale_name(wanted)} of training"
    return NumberScale(wanted / own, (said,))


def _check_units(image: ImageRange, n: int, channel: str, usual: ChannelRange) -> tuple[str, ...]:
    """Return a warning about one CT channel, if any. Raises InputError if it is not in Hounsfield units."""
    low, high = image.minimum[n], image.maximum[n]
    if low == high:
        return ()
    found = f"{image.name}: channel {channel} has values from {low:g} to {high:g}"
    if misses_offset(image, n, usual):
        raise InputError(
            f"{found}, and each training image has {usual.highest_minimum:g} or less: it is not in "
            "Hounsfield units; apply the file's rescale slope and intercept (usually: subtract 1024)"
        )
    if usual.minimum >= 0 and low <= AIR:
        raise InputError(
            f"{found}, and no training image goes below {usual.minimum:g}: those lack the offset of "
            "Hounsfield units; add it to this image too (usually 1024), or train again in Hounsfield units"
        )
    if (high - low) * _NARROW < usual.lowest_maximum - usual.highest_minimum:
        raise InputError(
            f"{found}, and every training image at least from {usual.highest_minimum:g} to "
            f"{usual.lowest_maximum:g}: it was normalised or windowed; give it in Hounsfield units"
        )
    if usual.highest_minimum <= AIR < low:
        return (
            f"channel {channel} has no value below {low:g}, and every training image goes below "
            f"{usual.highest_minimum:g}: it may be clipped or shifted",
        )
    return ()


def _check_extent(image: ImageRange, n: int, channel: str, usual: ChannelRange) -> None:
    """Raise InputError where a channel that is taken as it is has far other numbers than in training."""
    extent = image.maximum[n] - image.minimum[n]
    least, most = usual.lowest_maximum - usual.highest_minimum, usual.maximum - usual.minimum
    if 0 < extent * _NARROW < least or extent > _NARROW * most > 0:
        raise InputError(
            f"{image.name}: channel {channel} has values from {image.minimum[n]:g} to {image.maximum[n]:g}, "
            f"and the training images from {usual.minimum:g} to {usual.maximum:g}; prepare it as those were"
        )


def check_content(image: Volume, plan: Plan, name: str) -> tuple[str, ...]:
    """Return a sentence for each empty channel; usually none.

    Raises InputError for an image that has one value in all its voxels, or nearly all, where no training
    image is so.
    """
    flat = image.array.reshape(len(image.array), -1)
    return judge_content([differing(values) for values in flat], flat.shape[1], plan, name)


@dataclass(frozen=True)
class Differing:
    """Number of voxels of a channel that differ from its most frequent value."""

    value: float
    voxels: int


def differing(values: NDArray[Any]) -> Differing:
    """Return how many of the values (N,) differ from the most frequent one of a sample."""
    some = values[:: max(1, len(values) // 64)]
    found, counts = np.unique(some, return_counts=True)
    value = float(found[counts.argmax()])
    return Differing(value, count_differing(values, value))


def count_differing(values: NDArray[Any], value: float) -> int:
    """Return how many values differ from this one by more than rounding."""
    least = np.float32(FLAT * abs(value))
    parts = (values[start : start + _PART] for start in range(0, len(values), _PART))
    return sum(int(np.count_nonzero(np.abs(part - np.float32(value)) > least)) for part in parts)


def judge_content(channels: Sequence[Differing], voxels: int, plan: Plan, name: str) -> tuple[str, ...]:
    """Return or raise as `check_content`, for channels of `voxels` voxels each."""
    few = max(1, int(_FEW * voxels))
    empty = [n for n, one in enumerate(channels) if one.voxels <= few and voxels > few]
    known = {n for n, usual in enumerate(plan.ranges) if usual.constant}
    if len(empty) == len(channels) and not known.issuperset(empty):
        values = ", ".join(dict.fromkeys(f"{one.value:g}" for one in channels))
        most = max(one.voxels for one in channels)
        where = f"all but {most} of its voxels" if most else "all its voxels"
        raise InputError(
            f"{name}: has one value ({values}) in {where}; nothing can be segmented in it, leave it out"
        )
    return tuple(
        f"channel {plan.channels[n].name} has one value ({channels[n].value:g}) in nearly all voxels"
        for n in empty
        if n not in known
    )
