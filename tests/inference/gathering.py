"""Statistics of whole sample stacks, gathered slab by slab as prediction does, and put together again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ldseg.inference.backends.backend import TileBlock
from ldseg.inference.posterior import Posterior, Slab
from ldseg.inference.sliding_window import Tiling


@dataclass(frozen=True)
class Gathered:
    """The slabs joined."""

    posterior: Posterior
    probabilities: Tensor
    entropy: Tensor
    frequencies: Tensor
    samples: Tensor
    deepest: int
    """Planes of the largest slab."""


def gather(
    tiling: Tiling, probabilities: Tensor, block: int = 2, keep: bool = False, answer: Tensor | None = None
) -> Gathered:
    """From samples (S, K, *covered) on which all tiles agree, `block` of them at a time, and an answer of one
    call (1, K, *covered)."""
    posterior = Posterior(
        probabilities.shape[1], tiling, len(probabilities), keep, 0 if answer is None else 1
    )
    slabs: list[Slab | None] = []
    for tile in tiling.tiles():
        slabs.append(posterior.finish(before=tile.corner[tiling.axis]))
        part = probabilities[(slice(None), slice(None), *tile.region)]
        if answer is not None:
            posterior.add(tile, TileBlock(answer[(slice(None), slice(None), *tile.region)], range(0)))
        for first in range(0, len(part), block):
            some = part[first : first + block]
            drawn = TileBlock(some, range(first, first + len(some)))
            posterior.add(tile, drawn)
            posterior.count(tile, drawn)
    slabs.append(posterior.finish())
    found = [slab for slab in slabs if slab is not None]
    depths = [slab.mean.shape[tiling.axis + 1] for slab in found]
    assert [slab.start for slab in found] == np.cumsum([0, *depths[:-1]]).tolist()

    def joined(name: str, lead: int = 1) -> Tensor:
        return torch.cat([getattr(slab, name) for slab in found], tiling.axis + lead)

    structures = joined("frequencies")
    return Gathered(
        posterior,
        joined("mean"),
        joined("entropy")[0],
        torch.cat([1 - structures.sum(0, keepdim=True), structures]),
        joined("samples", 2),
        max(depths),
    )
