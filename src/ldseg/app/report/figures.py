"""Slices as images: an image is kept once and shown in panels with different overlays."""

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

from ldseg.app.report.palette import class_color
from ldseg.app.report.slice_selection import CropBox

Pixels = NDArray[np.uint8]

_LARGEST = 1024  # pixels along the longer side of an image
_GOOD_SIZE = 480  # pixels along the longer side of an overlay, for outlines of even width
_OUTLINE = 200  # an outline is the longer side over this
FILL, _OPAQUE = 72, 255  # of an overlay's areas and outlines
_IGNORED: tuple[int, int, int] = (128, 128, 128)


@dataclass(frozen=True)
class BaseImage:
    """An image that several panels show; the page stores it once, under `name`."""

    name: str
    rows: int
    columns: int
    stretch: float
    """Height of a pixel over its width."""
    pixels: Pixels
    """Gray (rows, columns) or RGB, downsampled if it is larger than the page shows."""
    pixel_mm: float | None = None
    """Width of a pixel; None without a physical spacing."""

    @property
    def height(self) -> float:
        """Return the height of the image in widths of a pixel."""
        return self.rows * self.stretch


@dataclass(frozen=True)
class Panel:
    """A base image under RGBA overlays of any size."""

    title: str
    base: BaseImage
    overlays: tuple[Pixels, ...] = ()
    frame: CropBox | None = None
    """Part of the image that other panels show enlarged, in its pixels."""
    dimmed: bool = False
    pixelated: bool = False
    """True where each pixel is to be seen as a square."""


def to_gray_or_rgb(image: NDArray[Any], is_color: bool) -> Pixels:
    """Return an image (M, rows, columns) as gray (rows, columns) of its first channel, or as RGB."""
    chosen = np.asarray(image if is_color else image[:1], dtype=np.float64)
    if is_color and chosen.min() >= 0 and 1 < chosen.max() <= 255:
        low, high = 0.0, 255.0
    else:
        low, high = (float(q) for q in np.percentile(chosen, [0.5, 99.5]))
    unit = np.clip((chosen - low) / (high - low if high > low else 1.0), 0, 1)
    pixels = np.rint(255 * unit).astype(np.uint8)
    return np.moveaxis(pixels, 0, -1) if is_color else pixels[0]


def make_base_image(name: str, pixels: Pixels, stretch: float, pixel_mm: float | None = None) -> BaseImage:
    """Return an image for panels, downsampled if it is larger than the page shows."""
    rows, columns = pixels.shape[:2]
    if max(rows, columns) > _LARGEST:
        shrink = _LARGEST / max(rows, columns)
        size = max(1, round(columns * shrink)), max(1, round(rows * shrink))
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    return BaseImage(name, rows, columns, stretch, pixels, pixel_mm)


def label_overlay(indices: NDArray[np.integer], fill: int = FILL) -> Pixels:
    """Return class indices (rows, columns; 0 background, -1 ignored) as tinted areas with an outline."""
    indices = downsample(indices)
    scale = max(1, ceil(_GOOD_SIZE / max(indices.shape)))
    large = np.repeat(np.repeat(indices, scale, 0), scale, 1)
    width = max(1, round(max(large.shape) / _OUTLINE))
    overlay = np.zeros((*large.shape, 4), np.uint8)
    overlay[large < 0] = (*_IGNORED, FILL)
    for index in range(1, int(indices.max(initial=0)) + 1):
        mask = large == index
        if mask.any():
            overlay[mask] = (*class_color(index - 1), fill)
            inner = np.asarray(ndimage.binary_erosion(mask, iterations=width, border_value=1), dtype=bool)
            overlay[mask & ~inner] = (*class_color(index - 1), _OPAQUE)
    return overlay


def downsample(array: NDArray[Any]) -> NDArray[Any]:
    """Return every n-th pixel of a slice (rows, columns) that is larger than the page shows."""
    step = ceil(max(array.shape) / _LARGEST)
    return array[::step, ::step]


def data_uri(pixels: Pixels) -> str:
    """Return the image as a data URI of a PNG."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()
