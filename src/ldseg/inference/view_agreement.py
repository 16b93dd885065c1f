"""Chooses between an image and its harmonized version by test-time augmentation.

A prediction that rests on what the image shows stays the same when the image is flipped (test-time
augmentation as a measure of uncertainty, Wang et al. 2019); one that noise or blur causes does not. So both
versions of an image are segmented twice, and the harmonized one is taken only where its two predictions
agree clearly better. K classes; *S patch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ldseg.data.splits import evenly_spaced
from ldseg.inference.backends.backend import Backend, TileSampler
from ldseg.inference.backends.torch_backend import find_tta_axis, flip
from ldseg.inference.sliding_window import Tile, Tiling
from ldseg.metrics.dice import dice_of_counts
from ldseg.planning.plan import Plan
from ldseg.preprocessing.preprocess import PatchSource
from ldseg.settings import SamplingSettings

LESS, LESS_IN_COLOUR = 1.0, 0.8
"""The disagreement on the changed image must be below this share of that on the image as it is. Chosen on
validation cases of four sets; colours are changed in brightness too, which takes more evidence."""
_TILES = 32
"""Number of tiles of a larger image that are segmented, evenly spaced."""


def agrees_better(
    changed: PatchSource,
    image: PatchSource,
    backend: Backend,
    plan: Plan,
    tiling: Tiling,
    sampling: SamplingSettings,
    name: str,
) -> bool:
    """Return True where two predictions disagree clearly less on the changed image than on the image as it
    is.

    Where two predictions cannot differ (neither samples nor an axis that training flipped), the image as it
    is counts as good enough.
    """
    after, before = (tta_agreement(one, backend, plan, tiling, sampling, name) for one in (changed, image))
    colour = any(channel.scheme == "range" for channel in plan.channels)
    return 1 - after < (LESS_IN_COLOUR if colour else LESS) * (1 - before)


@torch.inference_mode()
def tta_agreement(
    image: PatchSource,
    backend: Backend,
    plan: Plan,
    tiling: Tiling,
    sampling: SamplingSettings,
    name: str,
) -> float:
    """Return the soft Dice between two predictions, 0 to 1, the mean over all classes with the background."""
    common, total = torch.zeros(2, len(plan.classes), dtype=torch.float64)
    flip_axis = find_tta_axis(plan, replace(sampling, tta=True))
    for tile in evenly_spaced(list(tiling.tiles()), _TILES):
        x = torch.from_numpy(image.read(tile.corner, tiling.patch))
        one, other = (p.cpu() for p in _two_predictions(x, tile, backend, sampling, name, flip_axis))
        inside = tile.inside(tiling.shape)
        one, other = one[(slice(None), *inside)].flatten(1), other[(slice(None), *inside)].flatten(1)
        common += torch.minimum(one, other).sum(1, dtype=torch.float64)
        total += (one + other).sum(1, dtype=torch.float64)
    return float(np.mean(dice_of_counts(common.numpy(), total.clamp(min=1e-6).numpy())))


def _two_predictions(
    x: Tensor, tile: Tile, backend: Backend, sampling: SamplingSettings, name: str, flip_axis: int | None
) -> tuple[Tensor, Tensor]:
    """Return two predictions (K, *S) of a tile (M, *S): of the tile and its flipped version where training
    flipped it, else two samples."""
    if flip_axis is not None:
        tiles = backend.tiles(replace(sampling, samples=1), 0, name, None)
        flipped = flip(x, flip_axis).contiguous()
        one, other = (next(_probabilities(tiles, view, tile, 1)) for view in (x, flipped))
        return one, flip(other, flip_axis)
    pair = backend.resolve_sampling(replace(sampling, samples=2))
    drawn = list(_probabilities(backend.tiles(pair, 0, name, None), x, tile, pair.samples))
    return drawn[0], drawn[-1]


def _probabilities(tiles: TileSampler, x: Tensor, tile: Tile, samples: int) -> Iterator[Tensor]:
    """Yield the probabilities (K, *S) of each sample."""
    for block in tiles.blocks(x, tile.corner, range(samples)):
        yield from block.probabilities if block.samples else ()
