"""What every trainable segmentation model here can do, the latent diffusion model and its baselines alike.

Prediction needs four calls: `condition` once per image, `start_shape` for the noise field, `draw` once for a
block of samples, `decode` once per sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ldseg.diffusion.samplers.types import DrawNoise, OnStep, Sampler, Times, ignore
from ldseg.diffusion.schedule import even_times
from ldseg.networks.image_encoder import Conditioning
from ldseg.settings import LossSettings


@dataclass(frozen=True)
class Losses:
    """The loss of one batch and its parts, scalars; parts are detached."""

    total: Tensor
    parts: dict[str, Tensor]


class Segmenter(nn.Module, ABC):
    """x (B, M, *S), with each axis a multiple of `image_factor`, to logits (B, K, *S)."""

    classes: int
    stochastic: bool
    """Whether two samples of one image can differ."""
    direct = False
    """Whether one call has an answer of its own, beside what the samples are drawn from."""
    image_factor: tuple[int, ...]
    """Each axis of an image must be a multiple of this."""
    latent_factor: tuple[int, ...]
    latent_channels: int
    clamped_from = 1.0
    """Time from which on, up to 1, a latent is noised as much as ever (see `diffusion.schedule`)."""

    @abstractmethod
    def loss(
        self, x: Tensor, y: Tensor, settings: LossSettings, generator: torch.Generator | None = None
    ) -> Losses:
        """The training loss. y is (B, *S), class indices, negative where ignored. The generator draws times
        and noise."""

    @abstractmethod
    def condition(self, x: Tensor) -> Conditioning:
        """What the image says, computed once whatever the number of steps and samples."""

    @abstractmethod
    def draw(
        self,
        conditioning: Conditioning,
        start: Tensor,
        times: Times,
        sampler: Sampler,
        noise: DrawNoise,
        on_step: OnStep = ignore,
    ) -> Tensor:
        """From starting noise (B, C, *S / f) to clean latents of the same shape, along `times` (n + 1,)."""

    @abstractmethod
    def decode(self, z: Tensor, conditioning: Conditioning) -> Tensor:
        """Clean latents to logits (B, K, *S), float32."""

    def sampling_times(self, steps: int) -> Tensor:
        """Return the times of `steps` calls, 1 = t_0 > ... > t_steps = 0, none of which changes nothing.

        Raises:
            ValueError: fewer than one step.
        """
        return even_times(steps, self.clamped_from)

    def start_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape (C, *S / f) of one case's starting noise for an image grid `shape`.

        Raises:
            ValueError: an axis is not a multiple of `image_factor`.
        """
        if any(n % f for n, f in zip(shape, self.image_factor, strict=True)):
            raise ValueError(f"grid {shape} is not a multiple of {self.image_factor}")
        return (self.latent_channels, *(n // f for n, f in zip(shape, self.latent_factor, strict=True)))
