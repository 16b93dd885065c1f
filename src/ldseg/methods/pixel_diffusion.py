"""Classic diffusion segmentation, without a latent: the label map itself is noised and denoised.

The label coder is the identity: z0 = 2 * one-hot(y) - 1 on the image's own grid, K channels, 0 where ignored.
z_t = sqrt(a) z0 + sqrt(1 - a) e; the denoiser sees z_t beside the image (Amit et al. 2021; Wu et al. 2022).
A U-Net of the image encoder's widths and levels runs at every step, which is what a latent saves; its stem
and head fold the finest stride into channels, as those of the other models do.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from ldseg.diffusion.parameterization import PARAMETERIZATIONS
from ldseg.diffusion.samplers.types import DrawNoise, OnStep, Sampler, Times, ignore
from ldseg.diffusion.schedule import add_noise, clamped_from, draw_times, expand_to, make_schedule
from ldseg.diffusion.timestep_cache import Moment, Timetable
from ldseg.methods.base import Losses, Segmenter
from ldseg.methods.losses import segmentation_loss
from ldseg.networks.blocks import convolution, depth_to_space, space_to_depth
from ldseg.networks.denoisers.preconditioned import PreconditionedDenoiser
from ldseg.networks.image_encoder import Conditioning
from ldseg.networks.label_encoder import one_hot
from ldseg.settings import DenoiserSettings, LossSettings, ModelSettings

LOGIT_SCALE = 4.0
"""Logits are this times the clean estimate: a certain voxel, +1 against -1, then has a softmax of 0.999, so
that cross-entropy and squared error ask for the same estimate there."""


class PixelDiffusion(Segmenter):
    """Built from the settings of the latent model; of these the latent's and the decoder's mean nothing."""

    stochastic = True

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        stages, noise = settings.image_encoder.stages, settings.noise
        self.settings = settings
        self.classes = settings.classes
        self.latent_channels = settings.classes
        self.latent_factor = (1,) * settings.spatial_dims
        self.image_factor = stages.factor
        self.signal = make_schedule(noise.schedule, noise.min_alpha_bar, noise.shift, noise.stretch)
        self.clamped_from = clamped_from(self.signal, noise.min_alpha_bar)
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
        self, x: Tensor, y: Tensor, settings: LossSettings, generator: torch.Generator | None = None
    ) -> Losses:
        z0 = self.encode(y)
        t = draw_times(x.shape[0], self.settings.noise.pure_noise_share, generator, x.device)
        noise = torch.randn(z0.shape, generator=generator, device=z0.device)
        z = add_noise(z0, noise, t, self.signal)
        moment = Moment(self.signal(t), self.denoiser.embed(t))
        a = expand_to(moment.signal, z0)
        prediction = self._predict(z, self.condition(x), moment)
        segmentation = segmentation_loss(self._logits(self._clean(prediction, z, a)), y, settings.dice)
        labelled = (y >= 0)[:, None].expand_as(z0)
        error = (prediction - self.parameterization.target(z0, noise, a)).square()
        latent = (error * labelled).sum() / labelled.sum().clamp_min(1)
        total = segmentation + settings.latent * latent
        return Losses(total, {"segmentation": segmentation.detach(), "latent": latent.detach()})

    def condition(self, x: Tensor) -> Conditioning:
        """The image itself, folded and through one convolution: the rest is computed at every step."""
        embedding = self.image_stem(space_to_depth(x, self.stem_stride))
        return Conditioning(self.denoiser.prepare(embedding), ())

    def draw(
        self,
        conditioning: Conditioning,
        start: Tensor,
        times: Times,
        sampler: Sampler,
        noise: DrawNoise,
        on_step: OnStep = ignore,
    ) -> Tensor:
        table = Timetable(times, start.device, self.signal, self.denoiser.embed)

        def denoise(z: Tensor, t: Tensor) -> Tensor:
            now = table.at(t)
            return self._clean(self._predict(z, conditioning, now), z, expand_to(now.signal, z))

        return sampler(denoise, start, table.times, table.signal, noise, on_step)

    def decode(self, z: Tensor, conditioning: Conditioning) -> Tensor:
        del conditioning
        return self._logits(z)

    def encode(self, y: Tensor) -> Tensor:
        """Class indices (B, *S) to z0 (B, K, *S), -1 or 1; an ignored voxel is 0, which favours no class."""
        return (2 * one_hot(y, self.classes) - 1) * (y >= 0)[:, None]

    def reconstruct(self, y: Tensor) -> Tensor:
        """Logits of decode(encode(y)): the identity coder loses nothing."""
        return self._logits(self.encode(y))

    def _predict(self, z: Tensor, conditioning: Conditioning, moment: Moment) -> Tensor:
        cells = self.denoiser.fold(space_to_depth(z, self.stem_stride))
        found = self.denoiser.unfold(self.denoiser(cells, conditioning.embedding, *moment))
        return depth_to_space(found, self.stem_stride)

    def _clean(self, prediction: Tensor, z: Tensor, a: Tensor) -> Tensor:
        """Clipped to the known range of z0, as pixel diffusion does: read from a noise prediction near t = 1
        the estimate would be a hundred times too large."""
        return self.parameterization.clean(prediction, z, a).clamp(-1, 1)

    def _logits(self, z: Tensor) -> Tensor:
        return LOGIT_SCALE * z.float()
