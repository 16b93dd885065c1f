"""Colours of classes and of uncertainty, legible on white, on black and on grey images."""

from __future__ import annotations

from colorsys import hls_to_rgb

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

Colour = tuple[int, int, int]

_FIRST: tuple[Colour, ...] = (
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


def class_colour(index: int) -> Colour:
    """Of the structure number `index`, from 0 without the background; any number of them differ."""
    if index < len(_FIRST):
        return _FIRST[index]
    hue = (index * _GOLDEN_TURN) % 1
    red, green, blue = hls_to_rgb(hue, 0.5 + 0.1 * (index % 2), 0.6)
    return round(255 * red), round(255 * green), round(255 * blue)


def css(colour: Colour) -> str:
    """As CSS and SVG write it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def heat(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(..., 4) of values 0..1 (...): black over red to yellow, the more opaque the higher."""
    unit = np.clip(values, 0, 1)
    colours = _HEAT[np.rint(255 * unit).astype(int)]
    return np.rint(255 * np.concatenate([colours, np.sqrt(unit)[..., None]], axis=-1)).astype(np.uint8)


def heat_stops(count: int = 9) -> list[str]:
    """Even colours along the scale of `heat`, for a legend."""
    places = np.linspace(0, 255, count).astype(int)
    return [css((int(r), int(g), int(b))) for r, g, b in np.rint(255 * _HEAT[places])]
