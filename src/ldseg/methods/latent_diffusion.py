"""The latent diffusion segmentation model: four modules, one loss (Zaman et al. 2026).

z0 = label encoder(y)      c = image encoder(x)      z_t = s z0 + n e
z0^ = denoiser(z_t, c, t)  logits = label decoder(z0^)

`LDSeg.loss` trains them; `LDSeg.sample`, which all methods share (`base.Segmenter`), goes from image and
noise to logits by `encode_image`, `sample_latent` and `decode`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ldseg.diffusion.parameterization import PARAMETERIZATIONS, Parameterization
from ldseg.diffusion.samplers.renormalized import renormalized
from ldseg.diffusion.samplers.types import DrawNoise, OnStep, Sampler, ignore
from ldseg.diffusion.schedule import NoiseLevel, clamped_from, draw_times, expand_to, make_schedule
from ldseg.diffusion.timesteps import Times, Timestep, Timesteps
from ldseg.methods.base import DEFAULT_LOSS, Losses, Segmenter
from ldseg.methods.losses import segmentation_loss
from ldseg.networks.blocks import OutputHead, space_to_depth
from ldseg.networks.denoisers import DENOISERS
from ldseg.networks.denoisers.base import Denoiser
from ldseg.networks.image_encoders import IMAGE_ENCODERS
from ldseg.networks.image_encoders.base import Conditioning
from ldseg.networks.label_decoders import LABEL_DECODERS
from ldseg.networks.label_encoders import LABEL_ENCODERS
from ldseg.presets import default_model
from ldseg.settings import LossSettings, ModelSettings


class LDSeg(Segmenter):
    """Latent diffusion for segmentation, in 2D or 3D, for any number of channels and classes."""

    stochastic = True

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        classes: int = 2,
        settings: ModelSettings | None = None,
    ) -> None:
        """Build a model with fresh weights; `settings`, if given, replace the other arguments."""
        super().__init__()
        settings = settings or default_model(spatial_dims, in_channels, classes)
        noise = settings.noise
        self.settings = settings
        self.classes = settings.classes
        self.latent_channels = settings.latent_channels
        self.latent_factor = settings.label_encoder.factor
        self.timesteps = noise.timesteps
        self.schedule = make_schedule(noise.schedule, noise.min_alpha_bar, noise.shift, noise.stretch)
        self.clamped_from = clamped_from(self.schedule)
        self.label_encoder = LABEL_ENCODERS.find(settings.label_encoder.architecture)(settings)
        self.image_encoder = IMAGE_ENCODERS.find(settings.image_encoder.architecture)(settings)
        self.denoiser = DENOISERS.find(settings.denoiser.architecture)(settings)
        feature_channels = self.image_encoder.feature_channels
        self.has_deterministic_head = settings.deterministic_head
        self.deterministic_head = (
            OutputHead(settings.spatial_dims, feature_channels[-1], settings.latent_channels)
            if settings.deterministic_head
            else None
        )
        build_decoder = LABEL_DECODERS.find(settings.decoder.architecture)
        self.decoder = build_decoder(settings, feature_channels)
        self.parameterization = _parameterization(settings, self.denoiser)
        self.image_factor = settings.patch or tuple(
            math.lcm(of_image, of_latent * of_denoiser)
            for of_image, of_latent, of_denoiser in zip(
                self.image_encoder.factor, self.latent_factor, self.denoiser.factor, strict=True
            )
        )

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> LDSeg:
        """Return a new model with fresh weights."""
        return cls(settings=settings)

    def loss(
        self,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator | None = None,
        settings: LossSettings = DEFAULT_LOSS,
    ) -> Losses:
        cases, draws = x.shape[0], 1 + settings.latent_draws
        target_latent = self._encode_label(y, settings)
        conditioning = self.encode_image(x)
        noisy = self._add_noise(target_latent, draws, generator)
        embedding = conditioning.embedding.repeat(draws, *(1,) * (target_latent.ndim - 1))
        time = self.denoiser.embed(noisy.t)
        prediction, decodable = self.denoiser.predict_for_loss(noisy.z, embedding, noisy.level, time)
        if self.deterministic_head is not None:  # which learns from the segmentation loss instead
            decodable = prediction.detach()
        target = self.parameterization.target(noisy.z0, noisy.noise, noisy.level.expand_to(noisy.z))
        latent = self._latent_loss(prediction, target, y)

        z = noisy.z[:cases]
        level = noisy.level.first(cases).expand_to(z)
        clean = self.parameterization.clean(decodable[:cases], z, level)
        if self.deterministic_head is not None:
            at_start = expand_to((noisy.t[:cases] == 1).to(clean.dtype), clean)
            clean = clean + at_start * self.deterministic_head(conditioning.features[-1]).float()
        if settings.decode == "residual":
            to_decode = z - self.parameterization.noise(decodable[:cases], z, level)
        else:
            to_decode = clean
        keep = torch.rand(cases, generator=generator, device=x.device) >= settings.feature_drop
        reconstructed = self._latent_to_reconstruct(
            target_latent, y, count_reconstructed(cases, settings, generator), settings
        )
        logits = self.decoder(torch.cat([to_decode, reconstructed]), conditioning.features, keep)
        with_image, without_image = logits.split([cases, len(reconstructed)])

        segmentation = segmentation_loss(with_image, y, settings)
        total = segmentation + settings.latent * latent
        parts = {"segmentation": segmentation, "latent": latent}
        if len(reconstructed) > 0:
            parts["reconstruction"] = segmentation_loss(without_image, y[: len(reconstructed)], settings)
            total = total + settings.reconstruction * parts["reconstruction"]
        return Losses(total, {name: part.detach() for name, part in parts.items()})

    def encode_image(self, x: Tensor) -> Conditioning:
        conditioning = self.image_encoder(x)
        return replace(conditioning, embedding=self.denoiser.prepare(conditioning.embedding))

    def sample_latent(
        self,
        conditioning: Conditioning,
        start: Tensor,
        times: Times,
        sampler: Sampler,
        noise: DrawNoise,
        on_step: OnStep = ignore,
    ) -> Tensor:
        fold, unfold = self.denoiser.fold, self.denoiser.unfold

        def denoise(z: Tensor, now: Timestep) -> Tensor:
            level = NoiseLevel(*(value[None] for value in now.level))
            prediction = self.denoiser(z, conditioning.embedding, level, now.embedding)
            return self.parameterization.clean(prediction, z, level.expand_to(z))

        def on_unfolded(time: Tensor, z: Tensor, z0: Tensor) -> None:
            on_step(time, unfold(z), unfold(z0))

        timesteps = Timesteps(times, start.device, self.schedule, self.denoiser.embed)
        hook = on_step if on_step is ignore else on_unfolded
        sampler = renormalized(sampler) if self.settings.renormalize else sampler
        return unfold(sampler(denoise, fold(start), timesteps, lambda: fold(noise()), hook))

    def predict_deterministic(
        self, conditioning: Conditioning, shape: Sequence[int], on_step: OnStep = ignore
    ) -> Tensor:
        z = super().predict_deterministic(conditioning, shape, on_step)
        if self.deterministic_head is not None:
            z = z + self.deterministic_head(conditioning.features[-1]).float()
        return z

    def decode(self, z: Tensor, conditioning: Conditioning) -> Tensor:
        return self.decoder(z, conditioning.features)

    def reconstruct(self, y: Tensor) -> Tensor:
        """Return the logits of decode(encode(y)) without the image: the autoencoder ceiling."""
        return self.decoder(self.label_encoder(y))

    def _latent_loss(self, prediction: Tensor, target: Tensor, y: Tensor) -> Tensor:
        """Return the mean squared error of all draws (draws * B, C, *S / f) over the fully labelled cells: of
        the others the label encoder knows no target."""
        error = (prediction - target).square().mean(1, keepdim=True).unflatten(0, (-1, len(y)))
        labelled = space_to_depth((y >= 0)[:, None], self.latent_factor).all(1, keepdim=True)
        return (error * labelled).sum() / (labelled.sum() * len(error)).clamp_min(1)

    def _encode_label(self, y: Tensor, settings: LossSettings) -> Tensor:
        """Return the clean latents that the denoiser learns to predict."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not settings.stop_latent_gradient):
            return self.label_encoder(y)

    def _latent_to_reconstruct(
        self, target_latent: Tensor, y: Tensor, cases: int, settings: LossSettings
    ) -> Tensor:
        """Return the latents that the reconstruction term decodes. If these alone train the label encoder,
        they are encoded again: a gradient through all cases costs more."""
        again = settings.stop_latent_gradient and cases > 0
        return self.label_encoder(y[:cases]) if again else target_latent[:cases]

    def _add_noise(self, z0: Tensor, draws: int, generator: torch.Generator | None) -> _NoisyLatents:
        """Return noisy latents: the first draw of all cases mostly at t = 1, where sampling starts, the
        others at any time."""
        cases, share = z0.shape[0], self.settings.noise.pure_noise_share
        shares = [share, *(0.0 for _ in range(draws - 1))]
        t = torch.cat([draw_times(cases, share, generator, z0.device, self.timesteps) for share in shares])
        z0 = z0.repeat(draws, *(1,) * (z0.ndim - 1))
        noise = torch.randn(z0.shape, generator=generator, device=z0.device)
        level = self.schedule(t)
        return _NoisyLatents(z0, noise, t, level, level.expand_to(z0).noisy(z0, noise))


@dataclass(frozen=True)
class _NoisyLatents:
    """Noisy latents (draws * B, C, *S / f) and what they are made of, draw after draw of the cases in
    order."""

    z0: Tensor
    """Clean latents, with the gradient that the denoiser's loss may send through them."""
    noise: Tensor
    t: Tensor
    level: NoiseLevel
    """Levels of signal and noise of each latent, (draws * B,)."""
    z: Tensor


def count_reconstructed(cases: int, settings: LossSettings, generator: torch.Generator | None) -> int:
    """Return how many cases of a batch the reconstruction term decodes from the clean latent alone.

    In some steps none, because the autoencoder learns much faster than the rest and decoding is expensive.
    They are decoded in one call with the others: a batch of one takes a path through PyTorch's CPU
    convolutions that is many times slower. The number is drawn on the CPU also beside a GPU, which would have
    to finish all its work before a number could be read from it."""
    if settings.reconstruction == 0:
        return 0
    on_cpu = generator is not None and generator.device.type == "cpu"
    chance = torch.rand((), generator=generator if on_cpu else None, device="cpu")
    return math.floor(settings.reconstruction_share * cases + float(chance))


def _parameterization(settings: ModelSettings, denoiser: Denoiser) -> Parameterization:
    """Return what the denoiser predicts. Raises ValueError for what a deterministic head cannot complete."""
    name = denoiser.parameterization or settings.noise.parameterization
    if settings.deterministic_head and name == "epsilon":  # a clean estimate 1 / sqrt(a) times as uncertain
        raise ValueError(
            "model.deterministic_head is True; choose another noise.parameterization than epsilon, "
            "or turn it off"
        )
    return PARAMETERIZATIONS.find(name)
