"""Posterior samples of one tile: the image is encoded once, all steps of all samples run on the latent grid.

An `Engine` is what computes them; here is torch's, and another runtime's is a class with the same methods.
B samples of a block; K classes; C latent channels; f latent factor; *S patch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

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


@dataclass(frozen=True)
class Blocks:
    """How much of the samples is at work at once; at least one sample is. It does not change the answer."""

    latent_cells: int = 2**18
    """Of all samples drawn together."""
    decoded_voxels: int = 2**21
    """Of all samples decoded together."""


class Tiles(Protocol):
    """Posterior samples of the tiles of one case."""

    @property
    def classes(self) -> int:
        """K."""
        ...

    @property
    def answered(self) -> bool:
        """Whether the first block of a tile is no sample but the answer of one call (1, K, *S)."""
        ...

    def probabilities(self, x: Tensor, corner: Sequence[int], samples: range) -> Iterator[Tensor]:
        """Probabilities (B, K, *S), float32, of the tile x (M, *S) at `corner`, block by block, until all
        `samples` are through."""
        ...


class Engine(Protocol):
    """What computes tiles."""

    @property
    def latent_factor(self) -> tuple[int, ...]:
        """f, voxels of the network's grid per latent cell and axis."""
        ...

    def possible(self, sampling: SamplingSettings) -> SamplingSettings:
        """What it does when `sampling` is asked for: one sample where all would be equal.

        Raises:
            InputError: it can't sample in this way.
        """
        ...

    def tiles(self, sampling: SamplingSettings, seed: int, name: str) -> Tiles:
        """Tiles of the case `name`."""
        ...


@dataclass(frozen=True)
class TorchEngine:
    """The model itself, on a device."""

    segmenter: Segmenter
    device: torch.device
    precision: str
    blocks: Blocks = Blocks()

    @property
    def latent_factor(self) -> tuple[int, ...]:
        """f."""
        return self.segmenter.latent_factor

    def possible(self, sampling: SamplingSettings) -> SamplingSettings:
        """Anything; one sample of a deterministic model."""
        return sampling if self.segmenter.stochastic else replace(sampling, samples=1)

    def tiles(self, sampling: SamplingSettings, seed: int, name: str) -> TileSampler:
        """Tiles of the case `name`."""
        return TileSampler(self.segmenter, self.device, self.precision, sampling, seed, name, self.blocks)


@dataclass(frozen=True)
class CaseNoise:
    """The noise of one case, as its tiles read it."""

    seed: int
    name: str
    """Of the case; the noise depends on it."""
    channels: int
    """C."""
    factor: tuple[int, ...]
    """f."""

    def read(self, step: int, corner: Sequence[int], patch: Sequence[int], samples: range) -> Tensor:
        """Noise (B, C, *S / f) of `samples` in the patch at `corner`, in voxels; step 0 starts sampling."""
        first = [c // f for c, f in zip(corner, self.factor, strict=True)]
        grid = [n // f for n, f in zip(patch, self.factor, strict=True)]
        fields = (NoiseField(self.seed, self.name, sample, self.channels) for sample in samples)
        return torch.stack([field.read(step, first, grid) for field in fields])


@dataclass(frozen=True)
class TileSampler:
    """Draws samples of tiles of one case."""

    segmenter: Segmenter
    device: torch.device
    precision: str
    sampling: SamplingSettings
    seed: int
    name: str
    """Of the case; the noise depends on it."""
    blocks: Blocks = Blocks()

    @property
    def classes(self) -> int:
        """K."""
        return self.segmenter.classes

    @property
    def answered(self) -> bool:
        """Where the model has such an answer and several samples are asked for."""
        return self.sampling.samples > 1 and answers_too(self.segmenter, self.sampling)

    def probabilities(self, x: Tensor, corner: Sequence[int], samples: range) -> Iterator[Tensor]:
        """Softmax probabilities (B, K, *S), float32, of the tile x (M, *S) at `corner`, block by block."""
        conditioning = self._condition(x)
        grid = self.segmenter.start_shape(tuple(x.shape[1:]))[1:]
        if self.answered:
            z = self._draw(conditioning, corner, x.shape[1:], range(1), 1)
            with self._autocast():
                yield self.segmenter.decode(z, conditioning).softmax(1)
        for drawn in _blocks(samples, self.blocks.latent_cells // prod(grid)):
            z = self._draw(conditioning, corner, x.shape[1:], drawn, self.sampling.steps)
            for decoded in _blocks(range(len(drawn)), self.blocks.decoded_voxels // prod(x.shape[1:])):
                part = z[decoded.start : decoded.stop]
                with self._autocast():
                    logits = self.segmenter.decode(part, _shared(conditioning, len(part)))
                yield logits.softmax(1)

    def _condition(self, x: Tensor) -> Conditioning:
        with self._autocast():
            batch = x[None].to(self.device).contiguous(memory_format=memory_format(x.ndim - 1))
            return self.segmenter.condition(batch)

    def _draw(
        self,
        conditioning: Conditioning,
        corner: Sequence[int],
        patch: Sequence[int],
        samples: range,
        steps: int,
    ) -> Tensor:
        """Clean latents (B, C, *S / f) of these samples."""
        model = self.segmenter
        field = CaseNoise(self.seed, self.name, model.latent_channels, model.latent_factor)
        draws = iter(range(10**9))

        def noise() -> Tensor:
            return field.read(next(draws), corner, patch, samples).to(self.device)

        with self._autocast():
            return model.draw(
                _shared(conditioning, len(samples)),
                noise(),
                even_times(steps),
                find_sampler(self.sampling.sampler),
                noise,
            )

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.precision)


def answers_too(segmenter: Segmenter, sampling: SamplingSettings) -> bool:
    """Whether there is an answer of one call apart from such samples. Few samples only come near to it, so
    that it stands beside several in their mean."""
    return segmenter.direct and sampling.steps > 1


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
