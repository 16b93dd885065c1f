"""Slices as pictures: the image once, and overlays that are laid over it in as many panels as needed."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ldseg.reporting.html import text
from ldseg.reporting.palette import class_colour
from ldseg.reporting.view import Window

Pixels = NDArray[np.uint8]

_GOOD_SIZE = 480  # pixels along the longer side of an overlay, for outlines of even width
_OUTLINE = 200  # an outline is the longer side over this
_FILL, _OPAQUE = 72, 255
_IGNORED: tuple[int, int, int] = (128, 128, 128)


@dataclass(frozen=True)
class Base:
    """An image that stands once in the page and is referred to by `name`."""

    name: str
    rows: int
    columns: int
    stretch: float
    """Height of a pixel over its width."""
    definition: str
    """The HTML that holds it; to be put before the panels."""


def grey_or_colour(image: NDArray[Any], is_colour: bool) -> Pixels:
    """(M, rows, columns) as (rows, columns) grey of the first channel, or (rows, columns, 3)."""
    chosen = np.asarray(image if is_colour else image[:1], dtype=np.float64)
    if is_colour and chosen.min() >= 0 and 1 < chosen.max() <= 255:
        low, high = 0.0, 255.0
    else:
        low, high = (float(q) for q in np.percentile(chosen, [0.5, 99.5]))
    unit = np.clip((chosen - low) / (high - low if high > low else 1.0), 0, 1)
    pixels = np.rint(255 * unit).astype(np.uint8)
    return np.moveaxis(pixels, 0, -1) if is_colour else pixels[0]


def make_base(name: str, pixels: Pixels, stretch: float) -> Base:
    """Keep a picture for `panel`."""
    rows, columns = pixels.shape[:2]
    definition = (
        f'<svg class="base" aria-hidden="true"><defs><image id="{text(name)}" width="{columns}" '
        f'height="{rows * stretch:.3f}" preserveAspectRatio="none" href="{data_uri(pixels)}"/></defs></svg>'
    )
    return Base(name, rows, columns, stretch, definition)


def panel(
    base: Base,
    title: str,
    overlays: tuple[Pixels, ...] = (),
    window: Window | None = None,
    frame: Window | None = None,
    dimmed: bool = False,
) -> str:
    """The `window` of the base (None: all of it) under overlays (..., 4) that fill it, `frame` outlined."""
    top, left, rows, columns = window or (0, 0, base.rows, base.columns)
    y, height = top * base.stretch, rows * base.stretch
    placed = f'x="{left}" y="{y:.3f}" width="{columns}" height="{height:.3f}"'
    layers = [f'<use class="{"dimmed" if dimmed else "image"}" href="#{text(base.name)}"/>']
    layers += [f'<image {placed} preserveAspectRatio="none" href="{data_uri(one)}"/>' for one in overlays]
    if frame is not None:
        layers.append(
            f'<rect class="frame" x="{frame[1]}" y="{frame[0] * base.stretch:.3f}" width="{frame[3]}" '
            f'height="{frame[2] * base.stretch:.3f}"/>'
        )
    return (
        f'<figure class="panel"><svg viewBox="{left} {y:.3f} {columns} {height:.3f}" role="img" '
        f'aria-label="{text(title)}">{"".join(layers)}</svg><figcaption>{text(title)}</figcaption></figure>'
    )


def label_overlay(indices: NDArray[np.integer], fill: int = _FILL) -> Pixels:
    """Class indices (rows, columns), 0 background, -1 ignored: structures tinted, with an outline."""
    scale = max(1, ceil(_GOOD_SIZE / max(indices.shape)))
    large = np.repeat(np.repeat(indices, scale, 0), scale, 1)
    width = max(1, round(max(large.shape) / _OUTLINE))
    overlay = np.zeros((*large.shape, 4), np.uint8)
    overlay[large < 0] = (*_IGNORED, _FILL)
    for index in range(1, int(indices.max(initial=0)) + 1):
        mask = large == index
        if mask.any():
            overlay[mask] = (*class_colour(index - 1), fill)
            inner = np.asarray(ndimage.binary_erosion(mask, iterations=width, border_value=1), dtype=bool)
            overlay[mask & ~inner] = (*class_colour(index - 1), _OPAQUE)
    return overlay


def data_uri(pixels: Pixels) -> str:
    """A PNG within the page."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()
