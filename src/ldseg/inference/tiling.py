"""Covering an image with patches, and the share that each patch has in each voxel.

Corners lie on the latent grid, so that all tiles read their noise from one field. An image that fits one
patch is one tile; what a tile covers beyond the image is padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ldseg.preprocessing.patches import Shape, covered_shape, gaussian_weights, tile_corners


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
    corners: tuple[Shape, ...]

    @property
    def covered(self) -> Shape:
        """The grid that the patches cover, at least the image's."""
        return covered_shape(self.corners, self.patch)

    @property
    def inside(self) -> tuple[slice, ...]:
        """The image within the covered grid."""
        return tuple(slice(0, n) for n in self.shape)

    def tiles(self) -> Iterator[Tile]:
        """All tiles with their Gaussian shares."""
        weights = torch.from_numpy(gaussian_weights(self.patch))
        total = torch.zeros(self.covered)
        for corner in self.corners:
            total[self._region(corner)] += weights
        for corner in self.corners:
            region = self._region(corner)
            yield Tile(corner, weights / total[region], region)

    def _region(self, corner: Shape) -> tuple[slice, ...]:
        return tuple(slice(c, c + p) for c, p in zip(corner, self.patch, strict=True))


def make_tiling(shape: Sequence[int], patch: Sequence[int], latent_factor: Sequence[int]) -> Tiling:
    """Tiles over an image of `shape`, neighbours sharing at least half of a patch."""
    corners = tile_corners(shape, patch, align=latent_factor)
    return Tiling(tuple(shape), tuple(patch), tuple(corners))
