"""Strides per level and axis, the latent grid and the widths."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

LARGE_STRUCTURE = 24.0
"""Width in voxels from which a structure survives a latent grid of 1/8."""
LARGE_IMAGE = 384
"""Pixels per axis from which a 2D image of large structures may start at a quarter."""
COARSEST_CELLS = 14
"""Levels are added while the longest axis has more cells: at 7 to 14 the last one sees the whole patch."""
DIVISIBLE_CELLS = 8
"""An axis of fewer cells is not halved."""
FIRST_WIDTH = {2: 24, 3: 32}
"""By dimensions. In planes fewer channels learn more in the same time, in volumes they do not."""
LARGEST_WIDTH = 8
"""Times the first."""

Stride = tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """See the fields of `Plan`."""

    strides: tuple[Stride, ...]
    latent_levels: int
    latent_channels: int
    widths: tuple[int, ...]

    @property
    def factor(self) -> Stride:
        """Product of all strides per axis: the patch is a multiple of it."""
        return tuple(prod(axis) for axis in zip(*self.strides, strict=True))

    @property
    def latent_factor(self) -> Stride:
        """Product of the strides down to the latent grid, per axis."""
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
    strides[-1] = _with_time(axes, size, strides[-1])
    return Architecture(
        strides=tuple(strides),
        latent_levels=latent_levels,
        latent_channels=_latent_channels(strides[:latent_levels]),
        widths=tuple(FIRST_WIDTH[len(size)] * min(2**level, LARGEST_WIDTH) for level in range(len(strides))),
    )


def _stem(axes: str, size: tuple[int, ...], spacing: tuple[float, ...], width: float) -> Stride:
    """Space-to-depth: work at full resolution is bound by memory and costs most of a step."""
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
    """One level below a latent grid of 8 cells or more, for else the denoiser sees only neighbourhoods."""
    factor = [prod(axis) for axis in zip(*strides, strict=True)]
    stride = tuple(
        2 if name != "t" and ceil(n / f) >= DIVISIBLE_CELLS else 1
        for name, n, f in zip(axes, size, factor, strict=True)
    )
    return [stride] if max(stride) > 1 else []


def _with_time(axes: str, size: tuple[int, ...], stride: Stride) -> Stride:
    """Time is halved once, at the last level: frames are few, and movement is read from neighbours."""
    return (2, *stride[1:]) if axes == "tyx" and size[0] >= 8 else stride


def _latent_channels(strides: list[Stride]) -> int:
    """More channels where one latent cell stands for more voxels."""
    cell = prod(prod(axis) for axis in zip(*strides, strict=True))
    return max(8, min(32, cell // (4 if len(strides[0]) == 2 else 2)))
