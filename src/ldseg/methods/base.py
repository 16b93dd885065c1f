"""The interface of every trainable segmentation model, the latent diffusion model and its baselines alike.

`sample` is all of a prediction. One by tiles, with noise of its own, needs four calls: `encode_image` once
per tile, `start_shape` for the noise field, `predict_latent` once for a block of samples, and `decode` once
per sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ldseg.diffusion.samplers import find_sampler
from ldseg.diffusion.samplers.one_step import one_step
from ldseg.diffusion.samplers.types import DrawNoise, OnStep, Sampler, ignore
from ldseg.diffusion.schedule import discrete_times, even_times
from ldseg.diffusion.timesteps import Times
from ldseg.networks.image_encoders.base import Conditioning, ImageEncoder
from ldseg.settings import LossSettings, SamplingSettings

DEFAULT_LOSS = LossSettings()


@dataclass(frozen=True)
class Losses:
    """The loss of one batch and its parts, scalars; parts are detached."""

    total: Tensor
    parts: dict[str, Tensor]


class Segmenter(nn.Module, ABC):
    """A model from x (B, M, *S), with each axis a multiple of `image_factor`, to logits (B, K, *S)."""

    classes: int
    stochastic: bool
    """Whether two samples of one image can differ."""
    stepwise = True
    """Whether samples are drawn along sampling times; if not, steps and sampler change nothing."""
    has_deterministic_head = False
    """Whether the deterministic prediction is more than the first clean estimate of the samples."""
    image_factor: tuple[int, ...]
    """Each axis of an image must be a multiple of this."""
    latent_factor: tuple[int, ...]
    latent_channels: int
    global_channels = 0
    """Leading latent channels whose noise is one number for the whole image, the same in each cell."""
    encoded_maps = 0
    """Maps as large as the image that its encoding holds beside the features."""
    timesteps: int | None = None
    """Number of discrete times; None if time is continuous."""
    clamped_from = 1.0
    """Time from which on, up to 1, a latent carries the same noise (see `diffusion.schedule`)."""

    @abstractmethod
    def loss(
        self,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator | None = None,
        settings: LossSettings = DEFAULT_LOSS,
    ) -> Losses:
        """Return the training loss. y is (B, *S), class indices, negative where ignored. The generator draws
        times and noise."""

    @torch.no_grad()
    def sample(
        self,
        x: Tensor,
        samples: int = 1,
        steps: int = 1,
        sampler: str = "ddim",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the logits (B, samples, K, *S) of images x (B, M, *S); one step gives the deterministic
        prediction, `samples` times the same, more give posterior samples. The generator draws the noise, on
        its own device.

        Raises:
            ValueError: an axis is not a multiple of `image_factor`.
        """
        shape = (len(x) * samples, *self.start_shape(tuple(x.shape[2:])))
        conditioning = self.encode_image(x).repeat(samples)
        device = x.device if generator is None else generator.device

        def noise() -> Tensor:
            return torch.randn(shape, generator=generator, device=device).to(x.device)

        z = self.predict_latent(conditioning, noise(), SamplingSettings(sampler, steps, samples), noise)
        return self.decode(z, conditioning).unflatten(0, (len(x), samples))

    @abstractmethod
    def encode_image(self, x: Tensor) -> Conditioning:
        """Return the image's embedding and features, computed once for all steps and samples."""

    @abstractmethod
    def sample_latent(
        self,
        conditioning: Conditioning,
        start: Tensor,
        times: Times,
        sampler: Sampler,
        noise: DrawNoise,
        on_step: OnStep = ignore,
    ) -> Tensor:
        """Return clean latents sampled from starting noise (B, C, *S / f) along `times` (n + 1,). The
        conditioning is of B images, or of one that all samples share."""

    def load_pretrained(self) -> None:
        """Load the pretrained weights that the image encoder begins a training with, if it has any. Raises
        InputError if they cannot be read."""
        for part in self.children():
            if isinstance(part, ImageEncoder):
                part.load_pretrained()

    def predict_deterministic(
        self, conditioning: Conditioning, shape: Sequence[int], on_step: OnStep = ignore
    ) -> Tensor:
        """Return the latent of the deterministic prediction, of `shape` (B, C, *S / f): one call of the
        denoiser at the first time, from zero noise, the mean of what training showed there."""
        start = torch.zeros(tuple(shape), device=conditioning.embedding.device)
        first, last = self.sampling_times(1).tolist()
        times = (start.new_full((), first), start.new_full((), last))
        return self.sample_latent(conditioning, start, times, one_step, lambda: start, on_step)

    @abstractmethod
    def decode(self, z: Tensor, conditioning: Conditioning) -> Tensor:
        """Return the logits (B, K, *S), float32, of clean latents."""

    def predict_latent(
        self,
        conditioning: Conditioning,
        start: Tensor,
        sampling: SamplingSettings,
        noise: DrawNoise,
        on_step: OnStep = ignore,
    ) -> Tensor:
        """Return clean latents as `sampling` asks: the deterministic prediction if the denoiser is called
        only once, whatever the noise, else samples."""
        if sampling.single_call:
            return self.predict_deterministic(conditioning, start.shape, on_step)
        times, sampler = self.sampling_times(sampling.steps), find_sampler(sampling.sampler)
        return self.sample_latent(conditioning, start, times, sampler, noise, on_step)

    def resolve_sampling(self, sampling: SamplingSettings) -> SamplingSettings:
        """Return `sampling`, or one step and one sample where all samples would be equal."""
        varies = self.stochastic and not sampling.single_call
        return sampling if varies else replace(sampling, steps=1, samples=1)

    def sampling_times(self, steps: int) -> Tensor:
        """Return the times of a sampling, 1 = t_0 > ... > t_steps = 0, or `steps` discrete ones.

        Raises:
            ValueError: fewer than one step.
        """
        if self.timesteps is not None:
            return discrete_times(steps, self.timesteps)
        return even_times(steps, self.clamped_from)

    def start_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape (C, *S / f) of one case's starting noise for an image grid `shape`.

        Raises:
            ValueError: an axis is not a multiple of `image_factor`.
        """
        if any(n % f for n, f in zip(shape, self.image_factor, strict=True)):
            raise ValueError(f"grid {shape} is not a multiple of {self.image_factor}")
        return (self.latent_channels, *(n // f for n, f in zip(shape, self.latent_factor, strict=True)))


class SinglePass(Segmenter):
    """A model without steps: the network runs once, and a latent is the random numbers of a sample."""

    stepwise = False

    def sample_latent(
        self,
        conditioning: Conditioning,
        start: Tensor,
        times: Times,
        sampler: Sampler,
        noise: DrawNoise,
        on_step: OnStep = ignore,
    ) -> Tensor:
        """Return `start`."""
        del conditioning, times, sampler, noise, on_step
        return start
