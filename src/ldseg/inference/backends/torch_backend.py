"""Posterior samples of a tile by PyTorch: one call of the image encoder, all steps on the latent grid.

B samples of a chunk; K classes; C latent channels; f latent factor; *S patch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from math import prod

import torch
from torch import Tensor

from ldseg.diffusion.samplers import find_sampler
from ldseg.errors import InputError
from ldseg.inference.backends.backend import Computation, OnFeatures, TileBlock, ignore_features
from ldseg.inference.case_noise import CaseNoise
from ldseg.methods.base import Segmenter
from ldseg.networks.image_encoders.base import Conditioning
from ldseg.planning.plan import Plan
from ldseg.settings import SamplingSettings
from ldseg.utils.device import autocast, memory_format, precision_of

MOST = 2**16
"""Largest number of steps or samples; each sample's findings are kept in memory."""


@dataclass(frozen=True)
class ChunkSizes:
    """Upper limits of the work done at once, at least one sample; the result does not depend on them."""

    latent_cells: int = 2**18
    """Latent cells of all samples that are drawn together."""
    decoded_voxels: int = 2**21
    """Voxels of all samples that are decoded together."""


@dataclass(frozen=True)
class TorchBackend:
    """Computes tiles with the model itself, on a device."""

    segmenter: Segmenter
    device: torch.device
    precision: str
    limits: ChunkSizes = ChunkSizes()

    @property
    def computation(self) -> Computation:
        """The device, and the precision that is computed in there."""
        return Computation("torch", str(self.device), precision_of(self.device, self.precision))

    @property
    def latent_factor(self) -> tuple[int, ...]:
        """The model's f."""
        return self.segmenter.latent_factor

    @property
    def stochastic(self) -> bool:
        """True where two samples of one image can differ."""
        return self.segmenter.stochastic

    def resolve_sampling(self, sampling: SamplingSettings) -> SamplingSettings:
        """Return `sampling`, with one sample where all would be equal."""
        return self.segmenter.resolve_sampling(sampling)

    def tiles(
        self, sampling: SamplingSettings, seed: int, name: str, tta_axis: int | None
    ) -> TorchTileSampler:
        """Return the sampler of the case `name`; `tta_axis` is the flip axis of test-time augmentation."""
        model = self.segmenter
        noise = CaseNoise(seed, name, model.latent_channels, model.latent_factor, model.global_channels)
        return TorchTileSampler(model, self.device, self.precision, sampling, noise, tta_axis, self.limits)


@dataclass(frozen=True)
class TorchTileSampler:
    """Draws samples of the tiles of one case, half of them on flipped tiles with test-time augmentation."""

    segmenter: Segmenter
    device: torch.device
    precision: str
    sampling: SamplingSettings
    noise: CaseNoise
    tta_axis: int | None = None
    """Flip axis of test-time augmentation, counted from the last; None for none."""
    limits: ChunkSizes = ChunkSizes()

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return self.segmenter.classes

    @property
    def deterministic_predictions(self) -> int:
        """Number of deterministic predictions: one per augmented view beside several samples, if the model
        has one."""
        several = self.sampling.samples > 1
        return count_deterministic(self.segmenter, self.sampling, self.tta_axis) if several else 0

    def blocks(
        self, x: Tensor, corner: Sequence[int], samples: range, on_features: OnFeatures = ignore_features
    ) -> Iterator[TileBlock]:
        """Yield the blocks of the tile x (M, *S) view by view: each view draws every second of several
        samples; a single sample is the mean over the views."""
        axes = tta_flips(self.tta_axis)
        if len(samples) == 1:
            encoded = (self._encode(x, corner, axis, on_features) for axis in axes)
            views = [next(tile.samples(samples)).probabilities for tile in encoded]
            yield TileBlock(views[0] if len(views) == 1 else torch.stack(views).mean(0), samples)
            return
        for first, axis in enumerate(axes):
            yield from self._view(x, corner, axis, samples[first :: len(axes)], on_features)

    def _view(
        self, x: Tensor, corner: Sequence[int], axis: int | None, samples: range, on_features: OnFeatures
    ) -> Iterator[TileBlock]:
        """Yield the blocks of one view, which is freed before the next is encoded."""
        tile = self._encode(x, corner, axis, on_features)
        if self.deterministic_predictions:
            yield tile.deterministic_prediction()
        yield from tile.samples(samples)

    def _encode(
        self, x: Tensor, corner: Sequence[int], axis: int | None, on_features: OnFeatures
    ) -> _EncodedTile:
        """Encode the tile x (M, *S), flipped along `axis`."""
        conditioning = encode(self.segmenter, x, axis, self.device, self.precision)
        if axis is None:
            on_features(conditioning.features)
        return _EncodedTile(self, conditioning, tuple(corner), tuple(x.shape[1:]), axis)


@dataclass(frozen=True)
class _EncodedTile:
    """A tile or its flipped version, encoded once. Probabilities are flipped back; the noise is flipped too,
    for it belongs to places of the image."""

    sampler: TorchTileSampler
    conditioning: Conditioning
    corner: tuple[int, ...]
    patch: tuple[int, ...]
    axis: int | None

    def deterministic_prediction(self) -> TileBlock:
        """Return the deterministic prediction, of one denoiser call."""
        model = self.sampler.segmenter
        with autocast(self.sampler.device, self.sampler.precision):
            z = model.predict_deterministic(self.conditioning, (1, *model.start_shape(self.patch)))
        return TileBlock(self._decode(z), range(0))

    def samples(self, samples: range) -> Iterator[TileBlock]:
        """Yield `samples`, chunk by chunk."""
        sampler, voxels = self.sampler, prod(self.patch)
        cells = prod(sampler.segmenter.start_shape(self.patch)[1:])
        for drawn in _chunks(samples, sampler.limits.latent_cells // cells):
            z = self._draw(drawn)
            for decoded in _chunks(range(len(drawn)), sampler.limits.decoded_voxels // voxels):
                part = slice(decoded.start, decoded.stop)
                yield TileBlock(self._decode(z[part]), drawn[part])

    def _draw(self, samples: range) -> Tensor:
        """Return clean latents (B, C, *S / f) of these samples."""
        sampler, draws = self.sampler, count(1)
        with autocast(sampler.device, sampler.precision):
            return sampler.segmenter.predict_latent(
                self.conditioning,
                self._noise(0, samples),
                sampler.sampling,
                lambda: self._noise(next(draws), samples),
            )

    def _noise(self, draw: int, samples: range) -> Tensor:
        """Return one draw of the case's noise at this tile, (B, C, *S / f)."""
        field = self.sampler.noise.read(draw, self.corner, self.patch, samples)
        return flip(field.to(self.sampler.device), self.axis)

    def _decode(self, z: Tensor) -> Tensor:
        """Return probabilities (B, K, *S), float32."""
        with autocast(self.sampler.device, self.sampler.precision):
            logits = self.sampler.segmenter.decode(z, self.conditioning)
        return flip(logits.softmax(1), self.axis)


def encode(
    segmenter: Segmenter, x: Tensor, axis: int | None, device: torch.device, precision: str
) -> Conditioning:
    """Return the image encoder's output for a tile x (M, *S), flipped along `axis`."""
    with autocast(device, precision):
        batch = flip(x[None].to(device), axis)
        return segmenter.encode_image(batch.contiguous(memory_format=memory_format(x.ndim - 1)))


def count_deterministic(segmenter: Segmenter, sampling: SamplingSettings, tta_axis: int | None) -> int:
    """Return the number of deterministic predictions that are averaged with samples: one per augmented view.

    A mean of few samples only approaches them, so that they stand beside several samples in the mean.
    """
    has_one = segmenter.has_deterministic_head and not sampling.single_call
    return len(tta_flips(tta_axis)) if has_one else 0


def check_sampling(sampling: SamplingSettings) -> None:
    """Raise InputError for an unknown sampler, and for fewer than one step or sample or absurdly many."""
    try:
        find_sampler(sampling.sampler)
    except ValueError as error:
        raise InputError(str(error)) from error
    for name, value in (("steps", sampling.steps), ("samples", sampling.samples)):
        if not 1 <= value <= MOST:
            raise InputError(f"{name} is {value}; choose {'1 or more' if value < 1 else f'at most {MOST}'}")


def _chunks(samples: range, most: int) -> Iterator[range]:
    """Yield `samples` in chunks of at most `most`, at least one."""
    size = max(1, most)
    for first in range(0, len(samples), size):
        yield samples[first : first + size]


def find_tta_axis(plan: Plan, sampling: SamplingSettings) -> int | None:
    """Return the flip axis for test-time augmentation, counted from the last, or None.

    It is the last axis that training flipped.
    """
    if not sampling.tta or not plan.mirror_axes:
        return None
    return plan.mirror_axes[-1] - len(plan.patch)


def tta_flips(tta_axis: int | None) -> tuple[int | None, ...]:
    """Return the flip axis of each view of test-time augmentation; None is the image unflipped."""
    return (None,) if tta_axis is None else (None, tta_axis)


def flip(tensor: Tensor, axis: int | None) -> Tensor:
    """Return `tensor` flipped along `axis`, unchanged for None."""
    return tensor if axis is None else tensor.flip(axis)
