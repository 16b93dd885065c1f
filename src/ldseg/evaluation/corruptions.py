"""Corruptions of an image, each at five strengths of which the first leaves it as it is.

A corruption is one function and one line in `CORRUPTIONS`. It is given the image with each channel scaled to
[0, 1] by its own least and greatest value (M, *S), the strength, the voxel's size along each axis of *S as a
multiple of the finest spatial axis (infinite for time: what has a width in space does nothing there) and a
random generator. Its result is mapped back to the channel's intensities.

Noise is measured as in the paper (Zaman et al. 2026): added on [0, 1], and the result scaled to [0, 1] again.
The generator depends on (seed, case name, corruption, strength) and on nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf, isinf

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ldseg.data.volume import Volume
from ldseg.preprocessing.resample import resample_image

Image = NDArray[np.float32]
Voxel = Sequence[float]
Apply = Callable[[Image, float, Voxel, np.random.Generator], Image]

_BIAS_ORDER = 3


@dataclass(frozen=True)
class Corruption:
    """A function that degrades an image, with its strengths."""

    apply: Apply
    strengths: tuple[float, ...]
    """Ascending; at the first the image stays as it is."""
    meaning: str
    """Meaning of a strength with its unit, for tables and plots."""


def gaussian_noise(unit: Image, strength: float, voxel: Voxel, generator: np.random.Generator) -> Image:
    """Add white Gaussian noise, the protocol of the paper."""
    del voxel
    return to_unit(unit + np.float32(strength) * _normal(generator, unit))


def rician_noise(unit: Image, strength: float, voxel: Voxel, generator: np.random.Generator) -> Image:
    """Return the magnitude of a complex MR signal with noise in both parts (Gudbjartsson & Patz 1995)."""
    del voxel
    real, imaginary = _normal(generator, unit), _normal(generator, unit)
    return to_unit(np.hypot(unit + strength * real, strength * imaginary))


def speckle(unit: Image, strength: float, voxel: Voxel, generator: np.random.Generator) -> Image:
    """Multiply by gamma noise of mean 1, as in ultrasound averaged over 1 / strength^2 looks."""
    del voxel
    looks = 1 / strength**2
    return to_unit(unit * generator.gamma(looks, 1 / looks, unit.shape).astype(np.float32))


def blur(unit: Image, strength: float, voxel: Voxel, generator: np.random.Generator) -> Image:
    """Blur with a Gaussian of equal width in mm along all spatial axes."""
    del generator
    blurred = ndimage.gaussian_filter(unit, (0.0, *(strength / size for size in voxel)))
    return np.asarray(blurred, dtype=np.float32)


def contrast(unit: Image, strength: float, voxel: Voxel, generator: np.random.Generator) -> Image:
    """Raise intensities to a power, lowering the contrast of dark parts (z-scores undo linear changes)."""
    del voxel, generator
    return unit**strength


def bias_field(unit: Image, strength: float, voxel: Voxel, generator: np.random.Generator) -> Image:
    """Multiply by exp(strength * f), f a random polynomial over space whose largest value is 1.

    After Van Leemput et al. 1999; the field is the same for all channels and frames.
    """
    places = np.meshgrid(
        *(np.linspace(-1, 1, n) if n > 1 and not isinf(v) else np.zeros(n) for n, v in _axes(unit, voxel)),
        indexing="ij",
        sparse=True,
    )
    field = np.zeros(unit.shape[1:])
    for powers in product(range(_BIAS_ORDER + 1), repeat=len(places)):
        if 0 < sum(powers) <= _BIAS_ORDER:
            term = np.ones(())
            for place, power in zip(places, powers, strict=True):
                term = term * place**power
            field += generator.uniform(-1, 1) * term
    largest = np.abs(field).max()
    return unit * np.exp(strength * field / (largest if largest > 0 else 1)).astype(np.float32)


def low_resolution(unit: Image, strength: float, voxel: Voxel, generator: np.random.Generator) -> Image:
    """Resample to cubic voxels of `strength` times the finest spacing and back.

    Axes that are coarser already keep their resolution.
    """
    del generator
    coarse = [max(1, round(n / max(1.0, strength / size))) for n, size in _axes(unit, voxel)]
    every = range(len(coarse))
    return resample_image(resample_image(unit, coarse, every), unit.shape[1:], every)


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(gaussian_noise, (0, 0.05, 0.1, 0.15, 0.2), "deviation on [0, 1]"),
    "rician_noise": Corruption(rician_noise, (0, 0.05, 0.1, 0.15, 0.2), "deviation on [0, 1]"),
    "speckle": Corruption(speckle, (0, 0.15, 0.3, 0.45, 0.6), "deviation of the factor"),
    "blur": Corruption(blur, (0, 0.5, 1, 2, 3), "deviation in finest voxels"),
    "contrast": Corruption(contrast, (1, 1.3, 1.7, 2.3, 3), "exponent of the intensity"),
    "bias_field": Corruption(bias_field, (0, 0.2, 0.4, 0.6, 0.8), "largest logarithm of the field"),
    "low_resolution": Corruption(low_resolution, (1, 1.5, 2, 3, 4), "voxel size in finest voxels"),
}


def corrupt(volume: Volume, name: str, strength: float, seed: int, case: str) -> Volume:
    """Return the image `volume` of the case `case` after the corruption `name`, on the same grid.

    A constant channel stays as it is. `name` must be a key of `CORRUPTIONS`; any `strength` from the first of
    its strengths on is allowed.
    """
    chosen = CORRUPTIONS[name]
    if strength <= chosen.strengths[0]:
        return volume
    array = np.asarray(volume.array, dtype=np.float32)
    low, high = _extremes(array)
    key = f"{seed}/{case}/{name}/{float(strength)!r}"
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big"))
    changed = chosen.apply(to_unit(array), strength, relative_voxel(volume), generator)
    return volume.with_array(np.where(high > low, low + (high - low) * changed, array), "image")


def relative_voxel(volume: Volume) -> tuple[float, ...]:
    """Return the voxel size along each axis as a multiple of the finest spatial one, infinite along time."""
    spatial = [step for axis, step in zip(volume.axes, volume.spacing, strict=True) if axis != "t"]
    finest = min(spatial)
    return tuple(
        inf if axis == "t" else step / finest for axis, step in zip(volume.axes, volume.spacing, strict=True)
    )


def to_unit(array: Image) -> Image:
    """Return an image (M, *S) with each channel scaled to [0, 1], 0 where it is constant."""
    low, high = _extremes(array)
    extent = np.where(high > low, high - low, 1)
    return ((array - low) / extent).astype(np.float32)


def _extremes(array: Image) -> tuple[Image, Image]:
    """Return the least and greatest value of each channel, (M, 1, ...)."""
    axes = tuple(range(1, array.ndim))
    return array.min(axes, keepdims=True), array.max(axes, keepdims=True)


def _axes(unit: Image, voxel: Voxel) -> list[tuple[int, float]]:
    """Return the length and relative voxel size of each axis of *S."""
    return list(zip(unit.shape[1:], voxel, strict=True))


def _normal(generator: np.random.Generator, like: Image) -> Image:
    return generator.standard_normal(like.shape, dtype=np.float32)
