"""Whether a model's answer on an image that was brought nearer to its training images is the better one.

An answer that rests on what the image shows is the same when the image is looked at mirrored (test-time
augmentation as a measure of uncertainty, Wang et al. 2019). What noise or blur makes a network say is not. So
both versions of an image are looked at twice, and the changed one is taken only where its two answers agree
clearly better. K classes; *S patch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ldseg.data.splits import evenly
from ldseg.inference.backends.backend import Backend, Tiles
from ldseg.inference.backends.torch_backend import flipped
from ldseg.inference.sliding_window import Tile, Tiling
from ldseg.metrics.dice import dice_of_counts
from ldseg.planning.plan import Plan
from ldseg.preprocessing.preprocess import PatchSource
from ldseg.settings import SamplingSettings

LESS, LESS_IN_COLOUR = 1.0, 0.8
"""The disagreement on the changed image must be below this share of that on the image as it is. Chosen on
validation cases of four sets; colours are changed in brightness too, which takes more evidence."""
_TILES = 32
"""Of an image that is larger, evenly spaced."""


def is_steadier(
    changed: PatchSource,
    image: PatchSource,
    backend: Backend,
    plan: Plan,
    tiling: Tiling,
    sampling: SamplingSettings,
    name: str,
) -> bool:
    """Return whether two answers disagree clearly less on the changed image than on the image as it is.

    Where nothing tells two answers apart (a deterministic model without an axis that training mirrored), the
    image as it is counts as good enough.
    """
    after, before = (agreement(one, backend, plan, tiling, sampling, name) for one in (changed, image))
    colour = any(channel.scheme == "range" for channel in plan.channels)
    return 1 - after < (LESS_IN_COLOUR if colour else LESS) * (1 - before)


@torch.inference_mode()
def agreement(
    image: PatchSource,
    backend: Backend,
    plan: Plan,
    tiling: Tiling,
    sampling: SamplingSettings,
    name: str,
) -> float:
    """Return the soft Dice between two answers, 0 to 1, the mean over all classes with the background."""
    common, total = torch.zeros(2, len(plan.classes), dtype=torch.float64)
    mirrored = plan.mirror_axes[-1] - len(plan.patch) if plan.mirror_axes else None
    for tile in evenly(list(tiling.tiles()), _TILES):
        x = torch.from_numpy(image.read(tile.corner, tiling.patch))
        one, other = (answer.cpu() for answer in _answers(x, tile, backend, sampling, name, mirrored))
        inside = _inside(tile, tiling)
        one, other = one[(slice(None), *inside)].flatten(1), other[(slice(None), *inside)].flatten(1)
        common += torch.minimum(one, other).sum(1, dtype=torch.float64)
        total += (one + other).sum(1, dtype=torch.float64)
    return float(np.mean(dice_of_counts(common.numpy(), total.clamp(min=1e-6).numpy())))


def _answers(
    x: Tensor, tile: Tile, backend: Backend, sampling: SamplingSettings, name: str, mirrored: int | None
) -> tuple[Tensor, Tensor]:
    """Return two answers (K, *S) for a tile (M, *S): of the tile and its mirror image where training mirrored
    it, else two samples."""
    single = replace(sampling, samples=1)
    if mirrored is not None and not sampling.tta:
        tiles = backend.tiles(single, 0, name, None)
        turned = flipped(x, mirrored).contiguous()
        return _first(tiles, x, tile), flipped(_first(tiles, turned, tile), mirrored)
    pair = backend.possible(replace(sampling, samples=2))
    drawn = list(_probabilities(backend.tiles(pair, 0, name, mirrored), x, tile, pair.samples))
    return drawn[0], drawn[-1]


def _first(tiles: Tiles, x: Tensor, tile: Tile) -> Tensor:
    """Return the first sample."""
    return next(_probabilities(tiles, x, tile, 1))


def _probabilities(tiles: Tiles, x: Tensor, tile: Tile, samples: int) -> Iterator[Tensor]:
    """Yield the probabilities (K, *S) of each sample."""
    for block in tiles.blocks(x, tile.corner, range(samples)):
        yield from block.probabilities if block.samples else ()


def _inside(tile: Tile, tiling: Tiling) -> tuple[slice, ...]:
    """Return the part of a tile that is image, not padding."""
    ends = zip(tile.corner, tiling.patch, tiling.shape, strict=True)
    return tuple(slice(0, max(0, min(patch, size - corner))) for corner, patch, size in ends)
