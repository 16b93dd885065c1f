"""Coherent samples: what single samples decide cell by cell is brought together over a distance.

The samples of a latent are right about what varies far apart, and too restless about what varies close by:
each cell draws noise of its own, while a rater's whole outline lies further in or further out. The mean of
the samples is right about each voxel, and says nothing of what varies together. Both meet in an empirical
copula, as forecasts of the weather are put together (Schefzik, Thorarinsdottir & Gneiting 2013): the mean p,
at a temperature T, says how many of the S samples have a class k at a voxel v, and the order of the samples,
by their smoothed deviations from the mean, says which ones:

    labels_s(v) = argmax_k  log p_k(v) / T + g_sk(v)
    g_sk = 1/2 logit((rank of sample s, from 0, + 1/2) / S)

With two classes g_s1 = -g_s0, so that a sample has the structure where its probability, at T, is more than
1 - (rank + 1/2) / S. With one order for the whole image the samples are level sets of p.

S samples; K classes; *S patch; *G the grid of latent cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, avg_pool3d, interpolate

from ldseg.inference.backends.backend import TileBlock
from ldseg.inference.posterior import mean_share


@dataclass(frozen=True)
class Coherence:
    """The distance over which samples vary together, and how much they differ."""

    length: float
    """Standard deviation of the Gaussian that smooths deviations, in latent cells, > 0."""
    temperature: float = 1.0
    """T of the mean probabilities that the samples are level sets of, > 0."""

    def __post_init__(self) -> None:
        if not (self.length > 0 and self.temperature > 0):
            raise ValueError(
                f"coherence has the length {self.length} and temperature {self.temperature}; "
                "choose values above 0"
            )


def gather(
    blocks: Iterable[TileBlock], factor: tuple[int, ...], weights: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Return what coherent samples are made of, from all blocks of a tile: the mean (K, *S), and the
    probabilities of each sample by cell (S, K, *G).

    `factor` is the size of a cell in voxels; `weights` are those of a sample and of a deterministic
    prediction in the mean. Raises ValueError without a sample.
    """
    mean: Tensor | None = None
    cells: dict[int, Tensor] = {}
    for block in blocks:
        share = mean_share(block, weights)
        mean = share if mean is None else mean + share
        pool = avg_pool2d if share.ndim == 3 else avg_pool3d
        cells |= dict(zip(block.samples, pool(block.probabilities, factor), strict=False))
    if mean is None or not cells:
        raise ValueError("a tile has none; add the samples of a tile first")
    return mean, torch.stack([cells[sample] for sample in sorted(cells)])


def coherent_samples(mean: Tensor, cells: Tensor, coherence: Coherence) -> Iterator[TileBlock]:
    """Yield coherent samples, one by one, from the mean probabilities (K, *S) and the probabilities of each
    sample by cell (S, K, *G)."""
    logits = mean.clamp_min(torch.finfo(mean.dtype).tiny).log() / coherence.temperature
    mode = "bilinear" if logits.ndim == 3 else "trilinear"
    for sample, shift in enumerate(shifts(cells, coherence.length)):
        grown = interpolate(shift[None], logits.shape[1:], mode=mode)
        yield TileBlock((logits + grown).softmax(1), range(sample, sample + 1))


def shifts(cells: Tensor, length: float) -> Tensor:
    """Return g (S, K, *G), see the module, from the probabilities of each sample by cell (S, K, *G)."""
    deviations = cells - cells.mean(0)
    for axis in range(2, cells.ndim):
        places = torch.arange(cells.shape[axis], device=cells.device, dtype=cells.dtype)
        weights = torch.softmax(-((places[:, None] - places) / length).square() / 2, 1)
        deviations = (deviations.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    ranks = deviations.argsort(stable=True, dim=0).argsort(0)
    return torch.logit((ranks + 0.5) / len(cells)) / 2
