"""The latent diffusion segmentation model: four modules, one loss (Zaman et al. 2026).

z0 = label encoder(y)      c = image encoder(x)      z_t = sqrt(a) z0 + sqrt(1 - a) e
z0^ = denoiser(z_t, c, t)  logits = label decoder(z0^)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ldseg.diffusion.parameterization import PARAMETERIZATIONS, implied_noise
from ldseg.diffusion.samplers.types import DrawNoise, OnStep, Sampler, ignore
from ldseg.diffusion.schedule import add_noise, clamped_from, draw_times, expand_to, make_schedule
from ldseg.diffusion.timesteps import Times, Timestep, make_timesteps
from ldseg.methods.base import DEFAULT_LOSS, Losses, Segmenter
from ldseg.methods.losses import segmentation_loss
from ldseg.networks.blocks import OutputHead, space_to_depth
from ldseg.networks.denoisers.ddpm_unet import DDPMUNet
from ldseg.networks.denoisers.preconditioned import PreconditionedDenoiser
from ldseg.networks.image_encoder import Conditioning, ImageEncoder
from ldseg.networks.label_decoder import LabelDecoder
from ldseg.networks.label_encoder import LabelEncoder
from ldseg.presets import default_model
from ldseg.settings import LossSettings, ModelSettings, SamplingSettings


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
        d, latent, noise = settings.spatial_dims, settings.latent_channels, settings.noise
        image, preconditioned = settings.image_encoder, settings.denoiser.architecture == "preconditioned"
        self.settings = settings
        self.classes = settings.classes
        self.latent_channels = latent
        self.latent_factor = settings.label_encoder.factor
        self.image_factor = _image_factor(settings)
        self.alpha_bar = make_schedule(noise.schedule, noise.min_alpha_bar, noise.shift, noise.stretch)
        self.clamped_from = clamped_from(self.alpha_bar, noise.min_alpha_bar)
        self.parameterization = PARAMETERIZATIONS["sample" if preconditioned else noise.parameterization]
        self.label_encoder = LabelEncoder(
            d,
            classes=settings.classes,
            latent_channels=latent,
            latent_norm=settings.latent_norm,
            settings=settings.label_encoder,
            linear_shortcut=settings.linear_shortcut,
        )
        self.image_encoder = ImageEncoder(d, settings.in_channels, image)
        denoiser = PreconditionedDenoiser if preconditioned else DDPMUNet
        self.denoiser = denoiser(d, latent, image.embedding_channels, settings.denoiser)
        image_widths = image.stages.widths[: len(image.stages.widths) - image.context_stages]
        self.has_deterministic_head = settings.deterministic_head
        self.deterministic_head = (
            OutputHead(d, image_widths[-1], latent) if settings.deterministic_head else None
        )
        self.decoder = LabelDecoder(
            d, settings.classes, latent, image_widths, settings.decoder, settings.linear_shortcut
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
        prediction, decodable = self._predict(noisy, embedding)
        target = self.parameterization.target(noisy.z0, noisy.noise, noisy.a)
        latent = self._latent_loss(prediction, target, y)

        z, a = noisy.z[:cases], noisy.a[:cases]
        clean = self.parameterization.clean(decodable[:cases], z, a)
        if self.deterministic_head is not None:
            at_start = expand_to((noisy.t[:cases] == 1).to(clean.dtype), clean)
            clean = clean + at_start * self.deterministic_head(conditioning.features[-1]).float()
        to_decode = clean if settings.decode == "clean" else z - implied_noise(z, clean, a)
        keep = torch.rand(cases, generator=generator, device=x.device) >= settings.feature_drop
        reconstructed = self._latent_to_reconstruct(
            target_latent, y, _count_reconstructed(cases, settings, generator), settings
        )
        logits = self.decoder(torch.cat([to_decode, reconstructed]), conditioning.features, keep)
        with_image, without_image = logits.split([cases, len(reconstructed)])

        segmentation = segmentation_loss(with_image, y, settings.dice)
        total = segmentation + settings.latent * latent
        parts = {"segmentation": segmentation, "latent": latent}
        if len(reconstructed) > 0:
            parts["reconstruction"] = segmentation_loss(without_image, y[: len(reconstructed)], settings.dice)
            total = total + settings.reconstruction * parts["reconstruction"]
        return Losses(total, {name: part.detach() for name, part in parts.items()})

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
        prediction, more give posterior samples."""
        conditioning = self.encode_image(x).repeat(samples)
        shape = (len(x) * samples, *self.start_shape(tuple(x.shape[2:])))

        def noise() -> Tensor:
            return torch.randn(shape, generator=generator, device=x.device)

        z = self.predict_latent(conditioning, noise(), SamplingSettings(sampler, steps, samples), noise)
        return self.decode(z, conditioning).unflatten(0, (len(x), samples))

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
            a = now.alpha_bar[None]
            prediction = self.denoiser(z, conditioning.embedding, a, now.embedding)
            clean = self.parameterization.clean(prediction, z, expand_to(a, z))
            return self.label_encoder.latent_norm(clean) if self.settings.renormalize else clean

        def on_unfolded(time: Tensor, z: Tensor, z0: Tensor) -> None:
            on_step(time, unfold(z), unfold(z0))

        timesteps = make_timesteps(times, start.device, self.alpha_bar, self.denoiser.embed)
        hook = on_step if on_step is ignore else on_unfolded
        return unfold(sampler(denoise, fold(start), timesteps, lambda: fold(noise()), hook))

    def predict_deterministic(
        self, conditioning: Conditioning, start: Tensor, on_step: OnStep = ignore
    ) -> Tensor:
        z = super().predict_deterministic(conditioning, start, on_step)
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

    def _predict(self, noisy: _NoisyLatents, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Return the denoiser's prediction, and the same with the gradient that the decoder may send through
        it.

        With a deterministic head that gradient stops; without one the U-Net of the preconditioned denoiser
        learns from the latent alone: the segmentation loss, mostly at pure noise, would teach it to ignore
        z_t."""
        denoiser, alpha_bar = self.denoiser, self.alpha_bar(noisy.t)
        time = denoiser.embed(noisy.t)
        if isinstance(denoiser, DDPMUNet):
            prediction = denoiser(noisy.z, embedding, alpha_bar, time)
            return prediction, prediction
        parts = denoiser.parts(denoiser.fold(noisy.z), embedding, alpha_bar, time)
        gaussian, correction = (denoiser.unfold(part) for part in parts)
        mean = gaussian + correction
        return mean, gaussian + correction.detach() if self.deterministic_head is None else mean.detach()

    def _add_noise(self, z0: Tensor, draws: int, generator: torch.Generator | None) -> _NoisyLatents:
        """Return noisy latents: the first draw of all cases mostly at t = 1, where sampling starts, the
        others at any time."""
        cases, share = z0.shape[0], self.settings.noise.pure_noise_share
        shares = [share, *(0.0 for _ in range(draws - 1))]
        t = torch.cat([draw_times(cases, share, generator, z0.device) for share in shares])
        z0 = z0.repeat(draws, *(1,) * (z0.ndim - 1))
        noise = torch.randn(z0.shape, generator=generator, device=z0.device)
        z = add_noise(z0, noise, t, self.alpha_bar)
        return _NoisyLatents(z0, noise, t, expand_to(self.alpha_bar(t), z0), z)


@dataclass(frozen=True)
class _NoisyLatents:
    """Noisy latents (draws * B, C, *S / f) and what they are made of, draw after draw of the cases in
    order."""

    z0: Tensor
    """Clean latents, with the gradient that the denoiser's loss may send through them."""
    noise: Tensor
    t: Tensor
    a: Tensor
    """alpha_bar of each latent."""
    z: Tensor


def _count_reconstructed(cases: int, settings: LossSettings, generator: torch.Generator | None) -> int:
    """Return how many cases of a batch the reconstruction term decodes from the clean latent alone.

    In some steps none, because the autoencoder learns much faster than the rest and decoding is expensive.
    They are decoded in one call with the others: a batch of one takes a path through PyTorch's CPU
    convolutions that is many times slower."""
    if settings.reconstruction == 0:
        return 0
    device = "cpu" if generator is None else generator.device
    chance = torch.rand((), generator=generator, device=device)
    return math.floor(settings.reconstruction_share * cases + float(chance))


def _image_factor(settings: ModelSettings) -> tuple[int, ...]:
    """Return the number that each image axis must be a multiple of: the larger total stride of both
    U-Nets."""
    image, latent = settings.image_encoder.stages.factor, settings.label_encoder.factor
    denoiser = settings.denoiser.stages.factor
    return tuple(max(i, f * d) for i, f, d in zip(image, latent, denoiser, strict=True))
