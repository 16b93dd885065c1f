"""Colors of classes and of uncertainty, legible on white, on black and on gray images."""

from __future__ import annotations

from colorsys import hls_to_rgb

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

Color = tuple[int, int, int]

_FIRST: tuple[Color, ...] = (
    (63, 142, 222),
    (236, 154, 38),
    (62, 175, 118),
    (206, 98, 190),
    (226, 82, 82),
    (43, 176, 187),
    (150, 175, 52),
    (141, 122, 232),
)
_GOLDEN_TURN = 0.618034
_HEAT = np.asarray(colormaps["inferno"](np.linspace(0, 1, 256)))[:, :3]  # (256, 3), 0..1


def class_color(index: int) -> Color:
    """Return the color of a structure, counted from 0 without the background; all colors differ."""
    if index < len(_FIRST):
        return _FIRST[index]
    hue = (index * _GOLDEN_TURN) % 1
    red, green, blue = hls_to_rgb(hue, 0.5 + 0.1 * (index % 2), 0.6)
    return round(255 * red), round(255 * green), round(255 * blue)


def reference_color(index: int) -> Color:
    """Return the color of a structure in a reference: a light tint of its `class_color`."""
    red, green, blue = (round(0.4 * part + 0.6 * 255) for part in class_color(index))
    return red, green, blue


def css(color: Color) -> str:
    """Return the color as a CSS hex string."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def heat(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return values 0..1 (...) as RGBA (..., 4): black over red to yellow, more opaque for higher values."""
    unit = np.clip(values, 0, 1)
    colors = _HEAT[np.rint(255 * unit).astype(int)]
    return np.rint(255 * np.concatenate([colors, np.sqrt(unit)[..., None]], axis=-1)).astype(np.uint8)


def heat_stops(count: int = 9) -> list[str]:
    """Return evenly spaced colors of the scale of `heat`, for a legend."""
    places = np.linspace(0, 255, count).astype(int)
    return [css((int(r), int(g), int(b))) for r, g, b in np.rint(255 * _HEAT[places])]
