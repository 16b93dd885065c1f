"""Sliding window: the patches that cover an image, and the weight of each patch in each voxel.

Corners lie on the latent grid, so that all tiles read their noise from one field. An image that fits one
patch is one tile; what a tile covers beyond the image is padding. Nothing here is as large as the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor

from ldseg.preprocessing.patches import Shape, gaussian_weights, tile_corners

_WEIGHTS_KEPT = 4  # successive tiles have one of few weight maps; each is as large as a patch


@dataclass(frozen=True)
class Tile:
    """A patch of the covered grid."""

    corner: Shape
    weight: Tensor
    """(*patch); over all tiles the weights of a voxel sum to one."""
    region: tuple[slice, ...]
    """The patch's place in the covered grid."""

    def inside(self, shape: Shape) -> tuple[slice, ...]:
        """Return the part of the patch that is image (`shape`), not padding."""
        ends = zip(self.corner, self.weight.shape, shape, strict=True)
        return tuple(slice(0, max(0, min(patch, size - corner))) for corner, patch, size in ends)


@dataclass(frozen=True)
class Tiling:
    """Patches over a grid."""

    shape: Shape
    """The image's grid *S'."""
    patch: Shape
    starts: tuple[Shape, ...]
    """Per axis, the starts of patches; there is a patch for each combination."""

    @property
    def covered(self) -> Shape:
        """The grid that the patches cover, at least the image's."""
        return tuple(starts[-1] + p for starts, p in zip(self.starts, self.patch, strict=True))

    @property
    def inside(self) -> tuple[slice, ...]:
        """The image within the covered grid."""
        return tuple(slice(0, n) for n in self.shape)

    @property
    def axis(self) -> int:
        """The axis along which tiles are ordered: that with the most patches, so that later tiles can reach
        the least of the image."""
        counts = [len(starts) for starts in self.starts]
        return counts.index(max(counts))

    def tiles(self) -> Iterator[Tile]:
        """Yield all tiles with their Gaussian weights, in the order of their corners along `axis`."""
        for corner in sorted(product(*self.starts), key=lambda corner: corner[self.axis]):
            region = tuple(slice(c, c + p) for c, p in zip(corner, self.patch, strict=True))
            neighbors = tuple(  # per axis, offsets of the starts that overlap with this tile
                tuple(start - c for start in starts if abs(start - c) < p)
                for c, starts, p in zip(corner, self.starts, self.patch, strict=True)
            )
            yield Tile(corner, _weight(self.patch, neighbors), region)


def make_tiling(shape: Sequence[int], patch: Sequence[int], latent_factor: Sequence[int]) -> Tiling:
    """Return tiles that cover an image of `shape`, neighbors sharing at least half of a patch."""
    corners = tile_corners(shape, patch, align=latent_factor)
    starts = tuple(tuple(sorted(set(along))) for along in zip(*corners, strict=True))
    return Tiling(tuple(shape), tuple(patch), starts)


@lru_cache(maxsize=_WEIGHTS_KEPT)
def _weight(patch: Shape, neighbors: tuple[Shape, ...]) -> Tensor:
    """Return the weight of a patch among those that overlap with it, (*patch)."""
    weights = torch.from_numpy(gaussian_weights(patch))
    total = torch.zeros(patch)
    for offset in product(*neighbors):
        mine = tuple(slice(max(0, o), min(p, p + o)) for o, p in zip(offset, patch, strict=True))
        theirs = tuple(slice(max(0, -o), min(p, p - o)) for o, p in zip(offset, patch, strict=True))
        total[mine] += weights[theirs]
    return weights / total
