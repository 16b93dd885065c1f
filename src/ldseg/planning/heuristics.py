"""Rules that choose normalization, spacing and flips from the fingerprint."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ldseg.data.checks import RGB_NAME, refuse_beyond_eight_bit
from ldseg.data.ranges import common_white
from ldseg.planning.fingerprint import ChannelFingerprint, Fingerprint

COLOR_NAMES = (("r", "g", "b"), ("red", "green", "blue"))
ANISOTROPIC = 3.0
"""An axis is anisotropic when its spacing is more than this many times the finest."""


Scheme = Literal["zscore", "foreground", "range", "minmax", "unit", "none"]
NNUNET_SCHEMES: dict[str, Scheme] = {
    "nonorm": "none",
    "zscore": "zscore",
    "rescale_to_0_1": "minmax",
    "rescale_0_1": "minmax",
    RGB_NAME: "range",
}
"""Normalization by nnU-Net's channel names, in lower case; the name "CT" has a rule of its own."""


@dataclass(frozen=True)
class ChannelPlan:
    """Normalization of one image channel."""

    name: str
    scheme: Scheme
    """zscore: by the image's own mean and deviation. foreground: clip to `low`..`high`, then the data set's
    `mean` and `deviation` (CT). range: `low`..`high` to 0..1, then mean 0.5, deviation 0.25 (color). minmax:
    the image's own least and largest value to 0..1, then the same. unit: the least and the largest value of
    all such channels of the image to 0..1 (paper). none: the intensities as they are."""
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0


def plan_channels(fingerprint: Fingerprint, unit: bool = False) -> tuple[ChannelPlan, ...]:
    """Return the normalization of each channel: by its name and values, or `unit` for all."""
    if unit:
        return tuple(ChannelPlan(channel.name, "unit") for channel in fingerprint.channels)
    colour = is_photograph(fingerprint)
    white = common_white(fingerprint.ranges) if colour and fingerprint.ranges else None
    return tuple(_plan_channel(channel, colour, white) for channel in fingerprint.channels)


def _plan_channel(channel: ChannelFingerprint, colour: bool, white: float | None) -> ChannelPlan:
    asked = NNUNET_SCHEMES.get(channel.name.casefold())
    if asked is not None:
        if asked != "range":
            return ChannelPlan(channel.name, asked)
        refuse_beyond_eight_bit(channel.name, channel.minimum, channel.maximum)
        return ChannelPlan(channel.name, "range", 0.0, 255.0)
    # Hounsfield units mean the same in every image; their range is known from the structures.
    if "ct" in re.split(r"[^a-z]+", channel.name.casefold()):
        return ChannelPlan(
            channel.name, "foreground", channel.low, channel.high, channel.mean, channel.deviation or 1.0
        )
    # Normalizing each color channel by itself would change the hue of the stain.
    if colour:
        # without a known white level the range of the set is used
        low = min(channel.minimum, 0.0) if white is None else 0.0
        high = max(channel.maximum, low + 1e-6) if white is None else white
        return ChannelPlan(channel.name, "range", low, high)
    # MR and ultrasound have no scale: gain and scanner differ between images.
    return ChannelPlan(channel.name, "zscore")


def is_photograph(fingerprint: Fingerprint) -> bool:
    """Return whether the images are in color: three channels that differ, named R, G, B or of 8 bits."""
    names = tuple(channel.name.casefold() for channel in fingerprint.channels)
    eight_bit = all(c.whole_numbers and c.minimum >= 0 and c.maximum <= 255 for c in fingerprint.channels)
    return fingerprint.colour and (names in COLOR_NAMES or eight_bit)


def plan_spacing(fingerprint: Fingerprint) -> tuple[float, ...]:
    """Return the target spacing: the median, so that half of the images lose nothing.

    A very coarse axis takes its 10th percentile instead, since thick slices hold little that interpolation
    could lose. Time is never resampled: the frames are its grid.
    """
    spacings = np.array([case.spacing for case in fingerprint.cases])  # (N, D)
    target = np.median(spacings, axis=0)
    for axis, name in enumerate(fingerprint.axes):
        if name != "t" and target[axis] > ANISOTROPIC * target[-2:].min():
            target[axis] = max(np.percentile(spacings[:, axis], 10), target[-2:].min())
    return tuple(float(f"{value:.6g}") for value in target)


def plan_resampling(fingerprint: Fingerprint) -> bool:
    """Return whether images are resampled to one spacing; volumes always are.

    A 2D image is often zoomed on the structure of interest. Where image sizes differ less in pixels than in
    mm, a common spacing would undo the zoom; images then keep their own pixels, as they do without a spacing.
    """
    if fingerprint.axes != "yx":
        return True
    pixels = np.array([case.shape for case in fingerprint.cases], dtype=np.float64)
    extents = pixels * [case.spacing for case in fingerprint.cases]
    return _spread(extents) < _spread(pixels)


def _spread(sizes: NDArray[np.float64]) -> float:
    """Return the coefficient of variation of sizes (N, D), averaged over the axes."""
    return float((sizes.std(axis=0) / sizes.mean(axis=0)).mean())


def resampled_shape(
    axes: str, shape: tuple[int, ...], spacing: tuple[float, ...], target: tuple[float, ...]
) -> tuple[int, ...]:
    """Return the grid of an image of `shape` and `spacing` at the `target` spacing; t keeps its frames."""
    return tuple(
        n if name == "t" else max(1, round(n * here / there))
        for name, n, here, there in zip(axes, shape, spacing, target, strict=True)
    )


def smallest_width(fingerprint: Fingerprint, target: tuple[float, ...], resample: bool) -> float:
    """Return the width of the smallest structure in voxels of the network's grid, within the plane.

    Only y and x count: a coarse third axis has few voxels across anything and is halved less anyway.
    """
    widths = [
        one.width[axis] / target[axis] if resample else one.width_voxels[axis]
        for one in fingerprint.classes
        for axis in (-2, -1)
        if one.cases
    ]
    return min(widths)


_SIDES = {"left", "right", "l", "r", "lt", "rt", "lh", "rh"}
_HEIGHTS = {"upper", "lower", "top", "bottom", "superior", "inferior"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # "LeftLung", "left_lung" and "LEFT LUNG" have two each


def plan_mirror_axes(fingerprint: Fingerprint) -> tuple[int, ...]:
    """Return the axes that augmentation may flip.

    Left and right of a body look alike, and an ultrasound probe may be held either way round: x is flipped. A
    body has a top and a front, so the other axes are not. A stained section has no top, nor have pictures
    that agree on none: both axes, unless a structure's name says a height. Nothing is flipped where one says
    a side, since each flip exchanges the sides, nor in a series, since the heart turns one way.
    """
    x, direction = len(fingerprint.axes) - 1, fingerprint.direction
    without_top = is_photograph(fingerprint) or (direction is not None and direction.absent)
    forbidden = forbidden_flips(fingerprint)
    return tuple(axis for axis in ((0, x) if without_top else (x,)) if axis not in forbidden)


def forbidden_flips(fingerprint: Fingerprint) -> tuple[int, ...]:
    """Return the axes along which a flip would exchange structures, or turn over images that have a top."""
    words = {word.casefold() for one in fingerprint.classes for word in _WORD.findall(one.name)}
    if fingerprint.axes == "tyx" or words & _SIDES:
        return tuple(range(len(fingerprint.axes)))
    direction = fingerprint.direction
    upright = direction is not None and not direction.absent and not is_photograph(fingerprint)
    return (0,) if upright or words & _HEIGHTS else ()
