"""Standard normal noise on the latent grid of a whole image, read tile by tile.

A value depends on (seed, case name, sample, step) and its place on the grid, and on nothing else: neither on
other cases, nor on the order or size of tiles, nor on the device. So tiles agree where they overlap, and no
field as large as the image is ever held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ldseg.data.file_names import name_key

_BLOCK = {2: 64, 3: 16}  # cells per axis of what one generator draws; 4096 in all


@dataclass(frozen=True)
class NoiseField:
    """The noise of one sample of one case: an unbounded grid from the corner 0 on."""

    seed: int
    name: str
    """The case's name."""
    sample: int
    channels: int
    """C; 0 gives empty tensors."""
    global_channels: int = 0
    """The first of them that have one value for the whole grid."""

    def read(self, step: int, corner: Sequence[int], shape: Sequence[int]) -> Tensor:
        """Return the field (C, *shape) at `corner`, in latent cells, >= 0. Step 0 is the start of
        sampling."""
        edge = _BLOCK[len(shape)]
        result = torch.empty(self.channels, *shape)
        blocks = [range(c // edge, -(-(c + n) // edge)) for c, n in zip(corner, shape, strict=True)]
        for block in product(*blocks):
            there, here = _overlap(block, edge, corner, shape)
            result[(slice(None), *there)] = self._draw(step, block, edge)[(slice(None), *here)]
        if self.global_channels:
            first = self._draw(step, (0,) * len(shape), edge)[: self.global_channels]
            result[: self.global_channels] = first[(..., *(slice(1) for _ in shape))]
        return result

    def _draw(self, step: int, block: tuple[int, ...], edge: int) -> Tensor:
        """Return all values of one block, (C, edge, ...)."""
        key = f"{self.seed}/{name_key(self.name)}/{self.sample}/{step}/{block}"
        number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1
        generator = torch.Generator().manual_seed(number)
        return torch.randn(self.channels, *(edge for _ in block), generator=generator)


@dataclass(frozen=True)
class CaseNoise:
    """The noise of one case, which its tiles read."""

    seed: int
    name: str
    """The case's name; the noise depends on it."""
    channels: int
    """Latent channels C."""
    factor: tuple[int, ...]
    """Latent factor f."""
    global_channels: int = 0
    """The first channels that have one value for the whole image."""

    def read(self, step: int, corner: Sequence[int], patch: Sequence[int], samples: Sequence[int]) -> Tensor:
        """Return the noise (B, C, *S / f) of `samples` in the patch at `corner`, in voxels; step 0 starts
        sampling."""
        first = [c // f for c, f in zip(corner, self.factor, strict=True)]
        grid = [n // f for n, f in zip(patch, self.factor, strict=True)]
        fields = (
            NoiseField(self.seed, self.name, sample, self.channels, self.global_channels)
            for sample in samples
        )
        return torch.stack([field.read(step, first, grid) for field in fields])


def _overlap(
    block: tuple[int, ...], edge: int, corner: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return a block's place in the tile, and the part of the block that lies there."""
    there: list[slice] = []
    here: list[slice] = []
    for b, c, n in zip(block, corner, shape, strict=True):
        first, last = max(b * edge, c), min((b + 1) * edge, c + n)
        there.append(slice(first - c, last - c))
        here.append(slice(first - b * edge, last - b * edge))
    return tuple(there), tuple(here)
