"""Posterior samples of one tile: the image is encoded once, all steps of all samples run on the latent grid.

B samples of a block; K classes; C latent channels; f latent factor; *S patch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from ldseg.diffusion.samplers import find_sampler
from ldseg.errors import InputError
from ldseg.inference.backends.backend import Computation, OnFeatures, TileBlock, ignore_features
from ldseg.inference.case_noise import CaseNoise
from ldseg.methods.base import Segmenter
from ldseg.networks.image_encoder import Conditioning
from ldseg.planning.plan import Plan
from ldseg.settings import SamplingSettings
from ldseg.utils.device import autocast, memory_format, precision_of


@dataclass(frozen=True)
class ChunkSizes:
    """How much of the samples is at work at once; at least one sample is. It does not change the answer."""

    latent_cells: int = 2**18
    """Of all samples drawn together."""
    decoded_voxels: int = 2**21
    """Of all samples decoded together."""


@dataclass(frozen=True)
class TorchBackend:
    """The model itself, on a device."""

    segmenter: Segmenter
    device: torch.device
    precision: str
    limits: ChunkSizes = ChunkSizes()

    @property
    def computation(self) -> Computation:
        """On the device in the precision that it takes there."""
        return Computation("torch", str(self.device), precision_of(self.device, self.precision))

    @property
    def latent_factor(self) -> tuple[int, ...]:
        """f."""
        return self.segmenter.latent_factor

    @property
    def stochastic(self) -> bool:
        """As the model is."""
        return self.segmenter.stochastic

    def possible(self, sampling: SamplingSettings) -> SamplingSettings:
        """Anything; one sample of a deterministic model."""
        return sampling if self.stochastic else replace(sampling, samples=1)

    def tiles(
        self, sampling: SamplingSettings, seed: int, name: str, mirrored: int | None
    ) -> TorchTileSampler:
        """Tiles of the case `name`, looked at mirrored along this axis too."""
        model = self.segmenter
        noise = CaseNoise(seed, name, model.latent_channels, model.latent_factor)
        return TorchTileSampler(model, self.device, self.precision, sampling, noise, mirrored, self.limits)


@dataclass(frozen=True)
class TorchTileSampler:
    """Draws samples of tiles of one case."""

    segmenter: Segmenter
    device: torch.device
    precision: str
    sampling: SamplingSettings
    noise: CaseNoise
    mirrored: int | None = None
    """The axis, counted from the last, along which a tile is looked at mirrored, beside as it is."""
    limits: ChunkSizes = ChunkSizes()

    @property
    def classes(self) -> int:
        """K."""
        return self.segmenter.classes

    @property
    def answers(self) -> int:
        """One of each view, where the model has one and several samples are asked for."""
        several = self.sampling.samples > 1
        return count_deterministic(self.segmenter, self.sampling, self.mirrored) if several else 0

    def blocks(
        self, x: Tensor, corner: Sequence[int], samples: range, on_features: OnFeatures = ignore_features
    ) -> Iterator[TileBlock]:
        """View by view: of several samples each has every second one, a single one is the mean of both."""
        if len(samples) == 1:
            looks = (self._look(x, corner, view, on_features) for view in views(self.mirrored))
            both = [next(look.samples(samples)) for look in looks]
            yield TileBlock(torch.stack([one.probabilities for one in both]).mean(0), samples)
            return
        for first, axis in enumerate(views(self.mirrored)):
            share = samples[first :: len(views(self.mirrored))]
            yield from self._said(x, corner, axis, share, on_features)

    def _said(
        self, x: Tensor, corner: Sequence[int], axis: int | None, samples: range, on_features: OnFeatures
    ) -> Iterator[TileBlock]:
        """In one view, which is let go of before the next is encoded."""
        view = self._look(x, corner, axis, on_features)
        if self.answers:
            yield view.answer()
        yield from view.samples(samples)

    def _look(self, x: Tensor, corner: Sequence[int], axis: int | None, on_features: OnFeatures) -> _View:
        """Encode the tile x (M, *S), mirrored along `axis`."""
        conditioning = encode(self.segmenter, x, axis, self.device, self.precision)
        if axis is None:
            on_features(conditioning.features)
        return _View(self, conditioning, tuple(corner), tuple(x.shape[1:]), axis)

    def autocast(self) -> AbstractContextManager[object]:
        """In which the model is called."""
        return autocast(self.device, self.precision)


@dataclass(frozen=True)
class _View:
    """A tile as it is or mirrored, encoded once. What it says is mirrored back; the noise is mirrored too,
    for it belongs to places of the image."""

    of: TorchTileSampler
    conditioning: Conditioning
    corner: tuple[int, ...]
    patch: tuple[int, ...]
    axis: int | None

    def answer(self) -> TileBlock:
        """Of one call."""
        return TileBlock(self._decode(self._draw(range(1), 1)), range(0))

    def samples(self, samples: range) -> Iterator[TileBlock]:
        """Of several steps, block by block."""
        of, voxels = self.of, prod(self.patch)
        cells = prod(of.segmenter.start_shape(self.patch)[1:])
        for drawn in _blocks(samples, of.limits.latent_cells // cells):
            z = self._draw(drawn, of.sampling.steps)
            for decoded in _blocks(range(len(drawn)), of.limits.decoded_voxels // voxels):
                part = slice(decoded.start, decoded.stop)
                yield TileBlock(self._decode(z[part]), drawn[part])

    def _draw(self, samples: range, steps: int) -> Tensor:
        """Clean latents (B, C, *S / f) of these samples."""
        draws = iter(range(10**9))

        def noise() -> Tensor:
            field = self.of.noise.read(next(draws), self.corner, self.patch, samples)
            return flipped(field.to(self.of.device), self.axis)

        with self.of.autocast():
            return self.of.segmenter.draw(
                _shared(self.conditioning, len(samples)),
                noise(),
                self.of.segmenter.sampling_times(steps),
                find_sampler(self.of.sampling.sampler),
                noise,
            )

    def _decode(self, z: Tensor) -> Tensor:
        """Probabilities (B, K, *S), float32."""
        with self.of.autocast():
            logits = self.of.segmenter.decode(z, _shared(self.conditioning, len(z)))
        return flipped(logits.softmax(1), self.axis)


def encode(
    segmenter: Segmenter, x: Tensor, axis: int | None, device: torch.device, precision: str
) -> Conditioning:
    """Return what the image encoder says of a tile x (M, *S), mirrored along `axis`."""
    with autocast(device, precision):
        batch = flipped(x[None].to(device), axis)
        return segmenter.condition(batch.contiguous(memory_format=memory_format(x.ndim - 1)))


def count_deterministic(segmenter: Segmenter, sampling: SamplingSettings, mirrored: int | None) -> int:
    """How many answers of one call there are apart from such samples: one of each view. Few samples only come
    near to them, so that they stand beside several in their mean."""
    return len(views(mirrored)) if segmenter.direct and sampling.steps > 1 else 0


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
    for first in range(0, len(samples), size):
        yield samples[first : first + size]


def find_tta_axis(plan: Plan, sampling: SamplingSettings) -> int | None:
    """Along which an image is looked at mirrored, the last of those that training mirrored; counted from the
    last axis."""
    if not sampling.tta or not plan.mirror_axes:
        return None
    return plan.mirror_axes[-1] - len(plan.patch)


def views(mirrored: int | None) -> tuple[int | None, ...]:
    """Along which axis an image is mirrored each time it is looked at."""
    return (None,) if mirrored is None else (None, mirrored)


def flipped(tensor: Tensor, axis: int | None) -> Tensor:
    """Mirrored along an axis of `views`."""
    return tensor if axis is None else tensor.flip(axis)
