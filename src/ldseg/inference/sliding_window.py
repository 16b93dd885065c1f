"""Covering an image with patches, and the share that each patch has in each voxel.

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

_SHARES_KEPT = 4  # tiles that follow one another have one of few shares; each is as large as a patch


@dataclass(frozen=True)
class Tile:
    """One patch of the covered grid."""

    corner: Shape
    share: Tensor
    """(*patch); over all tiles the shares of a voxel sum to one."""
    region: tuple[slice, ...]
    """Where the patch lies in the covered grid."""


@dataclass(frozen=True)
class Tiling:
    """Patches over a grid."""

    shape: Shape
    """The image's grid *S'."""
    patch: Shape
    starts: tuple[Shape, ...]
    """Per axis, where patches start; there is a patch for each combination."""

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
        """The axis along which tiles are worked off: with the most patches, so that what tiles still to come
        can reach is the least."""
        counts = [len(starts) for starts in self.starts]
        return counts.index(max(counts))

    def tiles(self) -> Iterator[Tile]:
        """All tiles with their Gaussian shares, those of lower corners along `axis` first."""
        for corner in sorted(product(*self.starts), key=lambda corner: corner[self.axis]):
            region = tuple(slice(c, c + p) for c, p in zip(corner, self.patch, strict=True))
            yield Tile(corner, _share(self.patch, self._neighbours(corner)), region)

    def _neighbours(self, corner: Shape) -> tuple[Shape, ...]:
        """Per axis, starts that overlap with the tile at `corner`, counted from there."""
        return tuple(
            tuple(start - c for start in starts if abs(start - c) < p)
            for c, starts, p in zip(corner, self.starts, self.patch, strict=True)
        )


def make_tiling(shape: Sequence[int], patch: Sequence[int], latent_factor: Sequence[int]) -> Tiling:
    """Tiles over an image of `shape`, neighbours sharing at least half of a patch."""
    corners = tile_corners(shape, patch, align=latent_factor)
    starts = tuple(tuple(sorted(set(along))) for along in zip(*corners, strict=True))
    return Tiling(tuple(shape), tuple(patch), starts)


@lru_cache(maxsize=_SHARES_KEPT)
def _share(patch: Shape, neighbours: tuple[Shape, ...]) -> Tensor:
    """Weight of a patch among those that overlap with it, (*patch)."""
    weights = torch.from_numpy(gaussian_weights(patch))
    total = torch.zeros(patch)
    for offset in product(*neighbours):
        mine = tuple(slice(max(0, o), min(p, p + o)) for o, p in zip(offset, patch, strict=True))
        theirs = tuple(slice(max(0, -o), min(p, p - o)) for o, p in zip(offset, patch, strict=True))
        total[mine] += weights[theirs]
    return weights / total
