"""Classic diffusion segmentation, without a latent: the label map itself is noised and denoised.

The label coder is the identity: z0 = 2 * one-hot(y) - 1 on the image's own grid, K channels, 0 where ignored.
z_t = s z0 + n e; the denoiser sees z_t beside the image (Amit et al. 2021; Wu et al. 2022).
A U-Net of the image encoder's widths and levels runs at every step, which is what a latent saves; its stem
and head fold the finest stride into channels, as those of the other models do.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from ldseg.diffusion.parameterization import PARAMETERIZATIONS
from ldseg.diffusion.samplers.types import DrawNoise, OnStep, Sampler, ignore
from ldseg.diffusion.schedule import NoiseLevel, clamped_from, draw_times, make_schedule
from ldseg.diffusion.timesteps import Times, Timestep, Timesteps
from ldseg.methods.base import DEFAULT_LOSS, Losses, Segmenter
from ldseg.methods.losses import segmentation_loss
from ldseg.networks.blocks import convolution, depth_to_space, space_to_depth
from ldseg.networks.denoisers.preconditioned import PreconditionedDenoiser
from ldseg.networks.image_encoders.base import Conditioning
from ldseg.networks.label_encoders.base import one_hot
from ldseg.settings import DenoiserSettings, LossSettings, ModelSettings

LOGIT_SCALE = 4.0
"""Factor from the clean estimate to logits: a certain voxel, +1 against -1, then has a softmax of 0.999, so
that cross-entropy and squared error ask for the same estimate there."""


class PixelDiffusion(Segmenter):
    """Pixel diffusion, built from the settings of the latent model without those of latent and decoder."""

    stochastic = True

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        stages, noise = settings.image_encoder.stages, settings.noise
        self.settings = settings
        self.classes = settings.classes
        self.latent_channels = settings.classes
        self.latent_factor = (1,) * settings.spatial_dims
        self.image_factor = stages.factor
        self.timesteps = noise.timesteps
        self.schedule = make_schedule(noise.schedule, noise.min_alpha_bar, noise.shift, noise.stretch)
        self.clamped_from = clamped_from(self.schedule)
        self.parameterization = PARAMETERIZATIONS["sample"]
        self.stem_stride = stages.strides[0]
        folded = DenoiserSettings(
            replace(stages, strides=(self.latent_factor, *stages.strides[1:])),
            time_features=settings.denoiser.time_features,
        )
        channels = settings.classes * prod(self.stem_stride)
        embedding = folded.embedding_channels(channels)
        self.image_stem = convolution(
            settings.spatial_dims, settings.in_channels * prod(self.stem_stride), embedding
        )
        self.denoiser = PreconditionedDenoiser(settings.spatial_dims, channels, embedding, folded)

    def loss(
        self,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator | None = None,
        settings: LossSettings = DEFAULT_LOSS,
    ) -> Losses:
        z0 = self.encode(y)
        t = draw_times(x.shape[0], self.settings.noise.pure_noise_share, generator, x.device, self.timesteps)
        noise = torch.randn(z0.shape, generator=generator, device=z0.device)
        of_cases = self.schedule(t)
        level = of_cases.expand_to(z0)
        z = level.noisy(z0, noise)
        prediction = self._predict(z, self.encode_image(x), of_cases, self.denoiser.embed(t))
        segmentation = segmentation_loss(self._logits(self._clean(prediction, z, level)), y, settings)
        labelled = (y >= 0)[:, None].expand_as(z0)
        error = (prediction - self.parameterization.target(z0, noise, level)).square()
        latent = (error * labelled).sum() / labelled.sum().clamp_min(1)
        total = segmentation + settings.latent * latent
        return Losses(total, {"segmentation": segmentation.detach(), "latent": latent.detach()})

    def encode_image(self, x: Tensor) -> Conditioning:
        """Fold the image and apply one convolution; the rest is computed at every step."""
        embedding = self.image_stem(space_to_depth(x, self.stem_stride))
        return Conditioning(self.denoiser.prepare(embedding), ())

    def sample_latent(
        self,
        conditioning: Conditioning,
        start: Tensor,
        times: Times,
        sampler: Sampler,
        noise: DrawNoise,
        on_step: OnStep = ignore,
    ) -> Tensor:
        def denoise(z: Tensor, now: Timestep) -> Tensor:
            level = NoiseLevel(*(value[None] for value in now.level))
            prediction = self._predict(z, conditioning, level, now.embedding)
            return self._clean(prediction, z, level.expand_to(z))

        timesteps = Timesteps(times, start.device, self.schedule, self.denoiser.embed)
        return sampler(denoise, start, timesteps, noise, on_step)

    def decode(self, z: Tensor, conditioning: Conditioning) -> Tensor:
        del conditioning
        return self._logits(z)

    def encode(self, y: Tensor) -> Tensor:
        """Map class indices (B, *S) to z0 (B, K, *S), -1 or 1, and 0, which favors no class, where
        ignored."""
        return (2 * one_hot(y, self.classes) - 1) * (y >= 0)[:, None]

    def reconstruct(self, y: Tensor) -> Tensor:
        """Return the logits of decode(encode(y)): the identity coder loses nothing."""
        return self._logits(self.encode(y))

    def _predict(self, z: Tensor, conditioning: Conditioning, level: NoiseLevel, time: Tensor) -> Tensor:
        """Return the denoiser's prediction at z (B, K, *S)."""
        cells = self.denoiser.fold(space_to_depth(z, self.stem_stride))
        predicted = self.denoiser(cells, conditioning.embedding, level, time)
        return depth_to_space(self.denoiser.unfold(predicted), self.stem_stride)

    def _clean(self, prediction: Tensor, z: Tensor, level: NoiseLevel) -> Tensor:
        """Return the clean estimate, clipped to the range of z0: computed from a noise prediction near t = 1
        it would be a hundred times too large."""
        return self.parameterization.clean(prediction, z, level).clamp(-1, 1)

    def _logits(self, z: Tensor) -> Tensor:
        return LOGIT_SCALE * z.float()
