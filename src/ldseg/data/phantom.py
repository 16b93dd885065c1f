"""Synthetic phantoms that look like ultrasound: a beating cavity within a wall, with exact masks.

They are computed from formulas and random numbers, not from any patient or scanner, and serve tests and
examples; accuracy on them says nothing about real images.

Shape. A star-shaped cavity (radius 1 at rest, in units of its own size and outline) within a wall (radius w).
In 2D+time the cavity beats once over the frames and everything around it moves like an incompressible medium:
a point at rest radius q_0 outside of the cavity is at q with q^2 - c^2 = q_0^2 - 1, where c is the cavity's
radius in that frame. So the wall thickens as the cavity shrinks, its area stays, and the masks are exact.

Image. Scatterers, complex Gaussian numbers, move with the tissue and are blurred by a point spread (finer in
depth than sideways); their magnitude is fully developed speckle (Rayleigh distributed; Wagner et al. 1983).
Sound fades with depth and lies in shadow behind a strip. The logarithm of it all is what is shown, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ldseg.data.formats import write_volume
from ldseg.data.volume import Axes, Volume
from ldseg.utils.serialization import write_json_atomic

CLASSES = {"background": 0, "wall": 1, "cavity": 2}
SHAPES: dict[Axes, tuple[int, ...]] = {"yx": (96, 96), "zyx": (48, 64, 64), "tyx": (12, 64, 64)}
"""Grids of `write_phantom_dataset`."""
APPENDAGES = "appendages"
"""Folder of the masks of the appendages, about which raters disagree."""
FRAME_SECONDS = 0.04

_LEAST = 24
_ECHO = {"background": 0.08, "wall": 1.0, "cavity": 0.003, "appendage": 0.6}  # reflected power
_SPREAD = {"z": 1.0, "y": 0.7, "x": 1.3}  # standard deviation of the point spread, in voxels
_RANGE_DB = 50.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AmbiguousPhantom:
    """A phantom with appendages of the wall, which some raters count as wall and others do not."""

    image: Volume
    labels: Volume
    """Without any appendage."""
    appendages: NDArray[np.uint8]
    """(*S); the number of the appendage, from 1, and 0 elsewhere."""

    def labels_with(self, number: int) -> Volume:
        """Return the labels of a rater who counts this appendage as wall, and no other."""
        ids = np.where(self.appendages == number, CLASSES["wall"], self.labels.array[0])
        return self.labels.with_array(ids[None].astype(np.uint8), "labels")


@dataclass(frozen=True)
class _Scene:
    """The random parameters of a phantom's shape at rest."""

    centre: Array
    """In voxels, one per spatial axis."""
    size: Array
    """Voxels per unit of radius, one per spatial axis."""
    wall: float
    """w, radius of the wall's outside."""
    harmonics: Array
    """(waves, 2) cosine and sine amplitudes of the outline over the angle in the (y, x) plane."""
    beat: float
    """Relative decrease of the cavity's radius at peak contraction."""
    appendages: tuple[Array, ...]
    """Unit vectors from the centre to each."""


def make_phantom(axes: Axes, shape: Sequence[int], seed: int) -> tuple[Volume, Volume]:
    """Return a synthetic image (1, *S), integers 0 to 255, and its exact labels (1, *S), ids as in `CLASSES`.

    The spacing is 1 mm and 0.04 s. Equal arguments give equal voxels. Raises ValueError for a shape that has
    not one size per axis, or fewer than 24 voxels along y or x (4 along z).
    """
    image, labels, _ = _render(axes, shape, seed, appendages=0)
    return image, labels


def make_ambiguous_phantom(
    axes: Axes, shape: Sequence[int], seed: int, appendages: Literal[1, 2] = 1
) -> AmbiguousPhantom:
    """Return a phantom like `make_phantom`, with an appendage, or two on opposite sides, that some raters
    count as wall. The first of two is the lower one."""
    return AmbiguousPhantom(*_render(axes, shape, seed, appendages))


def write_phantom_dataset(
    folder: Path,
    axes: Axes,
    cases: int,
    seed: int,
    raters: int = 1,
    disagreement: float | None = None,
    shape: Sequence[int] | None = None,
    exclusive: bool = False,
) -> None:
    """Write phantoms as two folders of equal names, which `open_dataset` reads; PNG in 2D, else NIfTI.

    With `disagreement` each image has an appendage, which this share of all masks includes: exactly over
    the whole set, to the nearest mask, in an order independent of the images. A model that learned
    the raters' distribution includes it in that share of its samples, always as a whole. `appendages/` has
    its masks. Without `disagreement` there is none and all raters agree. With `exclusive` each image has a
    second one opposite the first (2 in `appendages/`), and all other masks include that one. The first is
    the lower one, so that its share can be learnt.

    Raises:
        ValueError: fewer than one case or rater, a share outside of 0 to 1, a shape that is too small, or
            `exclusive` without `disagreement`.
        InputError: a file cannot be written.
    """
    if cases < 1 or raters < 1 or not 0 <= (disagreement or 0) <= 1:
        raise ValueError("cases and raters must be at least 1, disagreement 0 to 1")
    if exclusive and disagreement is None:
        raise ValueError("exclusive appendages need a disagreement")
    count = 0 if disagreement is None else 2 if exclusive else 1
    votes = np.arange(cases * raters) < round((disagreement or 0.0) * (cases * raters))
    include = np.random.default_rng((seed, 1)).permutation(votes).reshape(cases, raters)
    for name in ("images", "labels", *([APPENDAGES] if disagreement is not None else [])):
        (folder / name).mkdir(parents=True, exist_ok=True)
    end = ".png" if axes == "yx" else ".nii.gz"
    for case in range(cases):
        name = f"phantom{case:03d}"
        own_seed = int(np.random.SeedSequence((seed, case)).generate_state(1)[0])
        grid = shape or SHAPES[axes]
        phantom = AmbiguousPhantom(*_render(axes, grid, own_seed, count))
        write_volume(folder / "images" / f"{name}{end}", phantom.image)
        for rater in range(raters):
            mask = phantom.labels_with(1 if include[case, rater] else 2)
            part = f"_rater{rater + 1}" if raters > 1 else ""
            write_volume(folder / "labels" / f"{name}{part}{end}", mask)
        if disagreement is not None:
            region = phantom.labels.with_array(phantom.appendages[None], "labels")
            write_volume(folder / APPENDAGES / f"{name}{end}", region)
    description = {
        "name": "Synthetic phantom, not a patient",
        "axes": axes,
        "channel_names": {"0": "ultrasound-like"},
        "labels": CLASSES,
    }
    write_json_atomic(folder / "dataset.json", description)


def _render(
    axes: Axes, shape: Sequence[int], seed: int, appendages: int
) -> tuple[Volume, Volume, NDArray[np.uint8]]:
    """Return image, labels and the numbers of appendages (*S)."""
    least = {"z": 4, "t": 1, "y": _LEAST, "x": _LEAST}
    if len(shape) != len(axes) or any(n < least[axis] for axis, n in zip(axes, shape, strict=True)):
        raise ValueError(f"shape is {tuple(shape)} for axes {axes}; give at least {least} voxels along each")
    rng = np.random.default_rng(seed)
    frames, grid = (shape[0], tuple(shape[1:])) if axes == "tyx" else (1, tuple(shape))
    scene = _draw_scene(grid, rng, appendages)
    scatterers = rng.normal(size=(2, *grid))
    fading = _fading(grid, rng)
    ids: list[NDArray[np.uint8]] = []
    regions: list[NDArray[np.uint8]] = []
    echoes: list[Array] = []
    for phase in np.arange(frames) / frames:
        rest, positions = _at_rest(scene, grid, float(phase))
        labels, region = _labels(scene, rest)
        ids.append(labels)
        regions.append(region)
        echoes.append(fading * _echo(scatterers, positions, labels, region))
    magnitude = np.stack(echoes)
    decibels = 20 * np.log10(np.maximum(magnitude, 1e-12) / np.quantile(magnitude, 0.995))
    shown = np.rint(255 * np.clip(1 + decibels / _RANGE_DB, 0, 1))
    full = tuple(shape)
    image, mask = shown.reshape(1, *full).astype(np.float32), np.stack(ids).reshape(1, *full)
    size = len(axes)
    spacing = (FRAME_SECONDS if axes == "tyx" else 1.0, *(1.0,) * (size - 1))
    direction = tuple(float(value) for value in np.eye(size).ravel())
    volume = Volume(image, spacing, (0.0,) * size, direction, axes, "image")
    return volume, volume.with_array(mask, "labels"), np.stack(regions).reshape(full)


def _draw_scene(grid: tuple[int, ...], rng: np.random.Generator, appendages: int) -> _Scene:
    extent = np.array(grid, float)
    reach = np.array([extent[0], *[extent[-2:].min()] * 2]) if len(grid) == 3 else np.full(2, extent.min())
    wall = rng.uniform(1.4, 1.7)
    angle = rng.uniform(0, 2 * np.pi) % (np.pi if appendages == 2 else 2 * np.pi)
    direction = np.array([0.0] * (len(grid) - 2) + [np.sin(angle), np.cos(angle)])
    return _Scene(
        centre=(extent - 1) / 2 + rng.uniform(-0.03, 0.03, len(grid)) * extent,
        size=rng.uniform(0.26, 0.32, len(grid)) * reach / wall,
        wall=wall,
        harmonics=rng.uniform(-0.05, 0.05, (2, 2)),
        beat=rng.uniform(0.25, 0.4),
        appendages=(direction, -direction)[:appendages],
    )


def _at_rest(scene: _Scene, grid: tuple[int, ...], phase: float) -> tuple[Array, Array]:
    """Return the rest position of each voxel's tissue, (D, *grid), in units of radius and in voxels."""
    middle, size = (values.reshape(-1, *(1,) * len(grid)) for values in (scene.centre, scene.size))
    offset = np.indices(grid) - middle  # (D, *grid) in voxels
    unit = offset / size
    angle = np.arctan2(unit[-2], unit[-1])
    outline = 1 + sum(
        a * np.cos(wave * angle) + b * np.sin(wave * angle)
        for wave, (a, b) in enumerate(scene.harmonics, start=2)
    )
    unit = unit / outline
    radius = np.maximum(np.sqrt((unit**2).sum(0)), 1e-9)
    cavity = 1 - scene.beat * np.sin(np.pi * phase) ** 2
    rest = np.where(radius < cavity, radius / cavity, np.sqrt(np.maximum(radius**2 - cavity**2, 0) + 1))
    return unit * rest / radius, middle + offset * rest / radius


def _labels(scene: _Scene, rest: Array) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return ids of `CLASSES` and numbers of appendages, from positions at rest (D, *grid)."""
    radius = np.sqrt((rest**2).sum(0))
    labels = np.zeros(radius.shape, np.uint8)
    labels[radius < scene.wall] = CLASSES["wall"]
    labels[radius < 1] = CLASSES["cavity"]
    numbers = np.zeros(radius.shape, np.uint8)
    for number, direction in enumerate(scene.appendages, start=1):
        tip = (scene.wall + 0.1) * direction.reshape(-1, *(1,) * (rest.ndim - 1))
        numbers[(np.sqrt(((rest - tip) ** 2).sum(0)) < 0.45) & (labels == 0)] = number
    return labels, numbers


def _echo(
    scatterers: Array, positions: Array, labels: NDArray[np.uint8], appendages: NDArray[np.uint8]
) -> Array:
    """Return the echo magnitude of each voxel, (*grid), before attenuation."""
    power = np.array([_ECHO[name] for name in CLASSES])[labels]
    amplitude = np.sqrt(np.where(appendages > 0, _ECHO["appendage"], power))
    spread = [_SPREAD[axis] for axis in "zyx"[-labels.ndim :]]
    parts = [
        ndimage.gaussian_filter(
            amplitude * ndimage.map_coordinates(part, positions, order=1, mode="grid-wrap"), spread
        )
        for part in scatterers
    ]
    return np.hypot(*parts)


def _fading(grid: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return the attenuation of the amplitude over (y, x): by depth, and by an acoustic shadow."""
    depth, side = np.arange(grid[-2])[:, None] / grid[-2], np.arange(grid[-1])[None] / grid[-1]
    start, place, width = rng.uniform(0.3, 0.6), rng.uniform(0.15, 0.85), rng.uniform(0.03, 0.06)
    behind = 1 / (1 + np.exp(-(depth - start) / 0.03))
    within = np.exp(-0.5 * ((side - place) / width) ** 2)
    return np.exp(-rng.uniform(0.5, 1.0) * depth) * (1 - 0.75 * behind * within)
