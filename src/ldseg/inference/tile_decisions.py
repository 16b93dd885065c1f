"""Counts for a decision (`inference.decision`), gathered tile by tile while the samples of a tile are drawn.

A voxel counts by the weight of each tile that covers it, as in `inference.posterior`, so that no label map of
a sample as large as the image is held. B samples of a block; K classes; *S patch.
"""

from __future__ import annotations

import numpy as np
import torch

from ldseg.inference.backends.backend import TileBlock
from ldseg.inference.decision import PosteriorCounts, index_type
from ldseg.inference.posterior import likeliest, mean_share, mean_weights
from ldseg.inference.sliding_window import Tile, Tiling


class TileDecisions:
    """Gathers the blocks of a tile and adds them to `counts` once the tile is complete."""

    def __init__(self, classes: int, tiling: Tiling, samples: int, deterministic: int) -> None:
        """Expect `samples` and `deterministic` predictions of each tile."""
        self.counts = PosteriorCounts(classes, samples)
        self._shape = tiling.shape
        self._weights = mean_weights(samples, deterministic)
        self._mean = torch.zeros(classes, *tiling.patch)
        self._samples = np.zeros((samples, *tiling.patch), index_type(classes))

    def add(self, block: TileBlock) -> None:
        """Add samples, or a deterministic prediction, of the present tile to the mean."""
        self._mean += mean_share(block, self._weights).cpu()

    def count(self, block: TileBlock) -> None:
        """Add what samples of the present tile decide for."""
        if block.samples:
            self._samples[list(block.samples)] = likeliest(block.probabilities, 1).cpu().numpy()

    def finish(self, tile: Tile) -> None:
        """Count the voxels of the tile that was added."""
        inside = (slice(None), *tile.inside(self._shape))
        probabilities, samples = self._mean[inside].numpy(), self._samples[inside]
        weights = tile.weight[inside[1:]].double().flatten().numpy()
        self.counts.add(
            probabilities.reshape(len(probabilities), -1), samples.reshape(len(samples), -1), weights
        )
        self._mean.zero_()
