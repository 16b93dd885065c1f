"""Posterior samples of one tile: the image is encoded once, all steps of all samples run on the latent grid.

B samples of a block; K classes; C latent channels; f latent factor; *S patch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ldseg.device import autocast, memory_format
from ldseg.diffusion.samplers import find_sampler
from ldseg.diffusion.schedule import even_times
from ldseg.errors import InputError
from ldseg.inference.noise import NoiseField
from ldseg.model.image_encoder import Conditioning
from ldseg.model.segmenter import Segmenter
from ldseg.settings import SamplingSettings

_LATENT_CELLS = 2**18  # of all samples drawn at once
_DECODED_VOXELS = 2**21  # of all samples decoded at once


@dataclass
class TileSampler:
    """Draws samples of tiles of one case."""

    segmenter: Segmenter
    device: torch.device
    precision: str
    sampling: SamplingSettings
    seed: int
    name: str
    """Of the case; the noise depends on it."""
    _encoded: tuple[tuple[int, ...], Conditioning] | None = None

    def probabilities(self, x: Tensor, corner: Sequence[int], samples: range) -> Iterator[Tensor]:
        """Softmax probabilities (B, K, *S), float32, of the tile x (M, *S) at `corner`, block by block."""
        conditioning = self._condition(x, tuple(corner))
        grid = self.segmenter.start_shape(tuple(x.shape[1:]))[1:]
        for drawn in _blocks(samples, _LATENT_CELLS // prod(grid)):
            z = self._draw(conditioning, corner, grid, drawn)
            for decoded in _blocks(range(len(drawn)), _DECODED_VOXELS // prod(x.shape[1:])):
                part = z[decoded.start : decoded.stop]
                with self._autocast():
                    logits = self.segmenter.decode(part, _shared(conditioning, len(part)))
                yield logits.softmax(1)

    def _condition(self, x: Tensor, corner: tuple[int, ...]) -> Conditioning:
        """The tile's conditioning, kept until another tile is asked for."""
        if self._encoded is None or self._encoded[0] != corner:
            layout = memory_format(x.ndim - 1)
            with self._autocast():
                batch = x[None].to(self.device).contiguous(memory_format=layout)
                self._encoded = corner, self.segmenter.condition(batch)
        return self._encoded[1]

    def _draw(
        self, conditioning: Conditioning, corner: Sequence[int], grid: tuple[int, ...], samples: range
    ) -> Tensor:
        """Clean latents (B, C, *S / f) of these samples."""
        start = [c // f for c, f in zip(corner, self.segmenter.latent_factor, strict=True)]
        channels = self.segmenter.latent_channels
        fields = [NoiseField(self.seed, self.name, sample, channels) for sample in samples]
        steps = iter(range(10**9))

        def noise() -> Tensor:
            step = next(steps)
            return torch.stack([field.read(step, start, grid) for field in fields]).to(self.device)

        with self._autocast():
            return self.segmenter.draw(
                _shared(conditioning, len(samples)),
                noise(),
                even_times(self.sampling.steps),
                find_sampler(self.sampling.sampler),
                noise,
            )

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.precision)


def check_sampling(sampling: SamplingSettings) -> None:
    """Raise InputError for an unknown sampler, or fewer than one step or sample."""
    try:
        find_sampler(sampling.sampler)
    except ValueError as error:
        raise InputError(str(error)) from error
    for name, value in (("steps", sampling.steps), ("samples", sampling.samples)):
        if value < 1:
            raise InputError(f"{name} is {value}; choose 1 or more")


def _shared(conditioning: Conditioning, samples: int) -> Conditioning:
    """One image's conditioning for several samples, without a copy."""

    def share(tensor: Tensor) -> Tensor:
        return tensor.expand(samples, *tensor.shape[1:])

    return Conditioning(share(conditioning.embedding), tuple(share(f) for f in conditioning.features))


def _blocks(samples: range, most: int) -> Iterator[range]:
    """`samples` in blocks of at most `most`, at least one."""
    size = max(1, most)
    for first in range(samples.start, samples.stop, size):
        yield range(first, min(first + size, samples.stop))
