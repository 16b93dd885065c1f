"""Plan the strides per level and axis, the latent grid and the widths of the networks."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

LARGE_STRUCTURE = 24.0
"""Width in voxels from which a structure is preserved by a latent grid of 1/8."""
LARGE_IMAGE = 384
"""Pixels per axis from which a 2D image of large structures gets a stem of stride 4."""
COARSEST_CELLS = 14
"""Levels are added while the longest axis has more cells; at 7 to 14 cells the last level sees the patch."""
DIVISIBLE_CELLS = 8
"""An axis of fewer cells is not halved."""
FIRST_WIDTH = {2: 24, 3: 32}
"""Width of the first level by dimensions; in 2D fewer channels learn more in the same time."""
LARGEST_WIDTH = 8
"""Largest width as a multiple of the first."""

Stride = tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """The levels of the networks; see the fields of `Plan`."""

    strides: tuple[Stride, ...]
    latent_levels: int
    latent_channels: int
    widths: tuple[int, ...]

    @property
    def factor(self) -> Stride:
        """Return the product of all strides per axis; the patch is a multiple of it."""
        return tuple(prod(axis) for axis in zip(*self.strides, strict=True))

    @property
    def latent_factor(self) -> Stride:
        """Return the product of the strides down to the latent grid, per axis."""
        return tuple(prod(axis) for axis in zip(*self.strides[: self.latent_levels], strict=True))


def plan_architecture(
    axes: str, size: tuple[int, ...], spacing: tuple[float, ...], width: float
) -> Architecture:
    """Plan the levels of a patch of `size` voxels whose smallest structure is `width` voxels wide."""
    strides = [_stem(axes, size, spacing, width)]
    latent_factor = 8 if width >= LARGE_STRUCTURE else 4
    latent_levels = 0
    while True:
        reached = tuple(prod(axis) for axis in zip(*strides, strict=True))
        if not latent_levels and max(reached) >= latent_factor:
            latent_levels = len(strides)
        stride = _next_stride(axes, size, spacing, reached)
        if max(stride) == 1:
            break
        strides.append(stride)
    if not latent_levels:
        latent_levels = len(strides)
    if latent_levels == len(strides):
        strides += _denoiser_level(axes, size, strides)
    if axes == "tyx" and size[0] >= 8:  # time is halved once: frames are few, and neighbors show the motion
        strides[-1] = (2, *strides[-1][1:])
    cell = prod(prod(axis) for axis in zip(*strides[:latent_levels], strict=True))
    return Architecture(
        strides=tuple(strides),
        latent_levels=latent_levels,
        latent_channels=max(8, min(32, cell // (4 if len(size) == 2 else 2))),
        widths=tuple(FIRST_WIDTH[len(size)] * min(2**level, LARGEST_WIDTH) for level in range(len(strides))),
    )


def _stem(axes: str, size: tuple[int, ...], spacing: tuple[float, ...], width: float) -> Stride:
    """Return the stride of the space-to-depth stem, which keeps costly work off the full resolution."""
    large = len(axes) == 2 and max(size) >= LARGE_IMAGE and width >= LARGE_STRUCTURE
    finest = min(spacing[-2:])
    coarse = [name == "t" or step > 2 * finest for name, step in zip(axes, spacing, strict=True)]
    return tuple(1 if skip or n < 8 else (4 if large else 2) for skip, n in zip(coarse, size, strict=True))


def _next_stride(axes: str, size: tuple[int, ...], spacing: tuple[float, ...], reached: Stride) -> Stride:
    """Halve the axes with cells to spare that are about as fine as the finest of them: cells become cubes."""
    cells = [0 if name == "t" else ceil(n / f) for name, n, f in zip(axes, size, reached, strict=True)]
    if max(cells) <= COARSEST_CELLS:
        return (1,) * len(axes)
    steps = [step * factor for step, factor in zip(spacing, reached, strict=True)]
    finest = min(step for step, n in zip(steps, cells, strict=True) if n >= DIVISIBLE_CELLS)
    return tuple(
        2 if n >= DIVISIBLE_CELLS and step <= 2 * finest else 1 for n, step in zip(cells, steps, strict=True)
    )


def _denoiser_level(axes: str, size: tuple[int, ...], strides: list[Stride]) -> list[Stride]:
    """Return one more level below a latent grid of 8 cells or more, so that the denoiser sees all of it."""
    factor = [prod(axis) for axis in zip(*strides, strict=True)]
    stride = tuple(
        2 if name != "t" and ceil(n / f) >= DIVISIBLE_CELLS else 1
        for name, n, f in zip(axes, size, factor, strict=True)
    )
    return [stride] if max(stride) > 1 else []
