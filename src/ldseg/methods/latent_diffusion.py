"""The latent diffusion segmentation model: four modules, one loss (Zaman et al. 2026; DESIGN 2.2).

z0 = label encoder(y)      c = image encoder(x)      z_t = sqrt(a) z0 + sqrt(1 - a) e
z0^ = denoiser(z_t, c, t)  logits = label decoder(z0^)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ldseg.diffusion.parameterization import PARAMETERIZATIONS, implied_noise
from ldseg.diffusion.samplers.types import DrawNoise, OnStep, Sampler, Times, ignore
from ldseg.diffusion.schedule import add_noise, clamped_from, draw_times, expand_to, make_schedule
from ldseg.diffusion.timestep_cache import Moment, Timetable
from ldseg.methods.base import Losses, Segmenter
from ldseg.methods.losses import segmentation_loss
from ldseg.networks.blocks import OutputHead, once, space_to_depth
from ldseg.networks.denoisers.ddpm_unet import DDPMUNet
from ldseg.networks.denoisers.preconditioned import PreconditionedDenoiser
from ldseg.networks.image_encoder import Conditioning, ImageEncoder
from ldseg.networks.label_decoder import LabelDecoder
from ldseg.networks.label_encoder import LabelEncoder
from ldseg.settings import LossSettings, ModelSettings


class LDSeg(Segmenter):
    """Built from settings alone."""

    stochastic = True

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        d, latent, noise = settings.spatial_dims, settings.latent_channels, settings.noise
        self.settings = settings
        self.classes = settings.classes
        self.latent_channels = latent
        self.latent_factor = settings.label_encoder.factor
        self.image_factor = _common_factor(settings)
        self.signal = make_schedule(noise.schedule, noise.min_alpha_bar, noise.shift, noise.stretch)
        self.clamped_from = clamped_from(self.signal, noise.min_alpha_bar)
        light = settings.denoiser.architecture == "preconditioned"
        self.parameterization = PARAMETERIZATIONS["sample" if light else noise.parameterization]
        self.label_encoder = LabelEncoder(
            d,
            settings.classes,
            latent,
            settings.latent_norm,
            settings.label_encoder,
            settings.linear_shortcut,
        )
        self.image_encoder = ImageEncoder(d, settings.in_channels, settings.image_encoder)
        embedding = settings.image_encoder.embedding_channels
        if settings.denoiser.architecture == "preconditioned":
            self.denoiser = PreconditionedDenoiser(d, latent, embedding, settings.denoiser)
        else:
            self.denoiser = DDPMUNet(d, latent, embedding, settings.denoiser)
        reached = len(settings.image_encoder.stages.widths) - settings.image_encoder.context_stages
        image_widths = settings.image_encoder.stages.widths[:reached]
        self.direct = settings.deterministic_head
        self.deterministic_head = (
            OutputHead(d, image_widths[-1], latent) if settings.deterministic_head else None
        )
        self.decoder = LabelDecoder(
            d,
            settings.classes,
            latent,
            image_widths,
            settings.decoder,
            settings.linear_shortcut,
        )

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> LDSeg:
        """A new model with fresh weights."""
        return cls(settings)

    def loss(
        self, x: Tensor, y: Tensor, settings: LossSettings, generator: torch.Generator | None = None
    ) -> Losses:
        cases = x.shape[0]
        aim = self._aim(y, settings)
        conditioning = self.condition(x)
        noised = self._noise(aim, 1 + settings.latent_draws, generator)
        embedding = conditioning.embedding.repeat(1 + settings.latent_draws, *(1,) * (aim.ndim - 1))
        prediction, decodable = self._predict(noised, embedding)
        target = self.parameterization.target(noised.aim, noised.noise, noised.a)
        latent = self._latent_error(prediction, target, y)

        z, a = noised.z[:cases], noised.a[:cases]
        clean = self.parameterization.clean(decodable[:cases], z, a)
        if self.deterministic_head is not None:
            starts = expand_to((noised.t[:cases] == 1).to(clean.dtype), clean)
            clean = clean + starts * self.deterministic_head(conditioning.features[-1]).float()
        to_decode = clean if settings.decode == "clean" else z - implied_noise(z, clean, a)
        keep = torch.rand(cases, generator=generator, device=x.device) >= settings.feature_drop
        alone = self._reconstructed(aim, y, _count_reconstructed(cases, settings, generator), settings)
        logits = self.decoder(torch.cat([to_decode, alone]), conditioning.features, keep)
        with_image, without = logits.split([cases, len(alone)])
        segmentation = segmentation_loss(with_image, y, settings.dice)
        total = segmentation + settings.latent * latent
        parts = {"segmentation": segmentation, "latent": latent}
        if len(alone) > 0:
            parts["reconstruction"] = segmentation_loss(without, y[: len(alone)], settings.dice)
            total = total + settings.reconstruction * parts["reconstruction"]
        return Losses(total, {name: part.detach() for name, part in parts.items()})

    def _latent_error(self, prediction: Tensor, target: Tensor, y: Tensor) -> Tensor:
        """Mean squared error, of all draws (draws * B, C, *S / f), over the cells whose voxels are all
        labelled: of the others the label encoder knows nothing to aim at."""
        error = (prediction - target).square().mean(1, keepdim=True).unflatten(0, (-1, len(y)))
        labelled = space_to_depth((y >= 0)[:, None], self.latent_factor).all(1, keepdim=True)
        return (error * labelled).sum() / (labelled.sum() * len(error)).clamp_min(1)

    def _aim(self, y: Tensor, settings: LossSettings) -> Tensor:
        """The latents that the denoiser learns to find."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not settings.stop_latent_gradient):
            return self.label_encoder(y)

    def _reconstructed(self, aim: Tensor, y: Tensor, cases: int, settings: LossSettings) -> Tensor:
        """The latents that the reconstruction term decodes: where these alone teach the label encoder, it
        goes over them again, for a gradient through all cases costs more."""
        again = settings.stop_latent_gradient and cases > 0
        return self.label_encoder(y[:cases]) if again else aim[:cases]

    def _predict(self, noised: _Noised, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """What the denoiser says, and the same as the decoder may move it: not at all where the image gives a
        direct answer. Else the light form's U-Net learns from the latent alone: the segmentation loss, mostly
        at pure noise, would teach it to ignore z_t."""
        denoiser = self.denoiser
        moment = Moment(self.signal(noised.t), denoiser.embed(noised.t))
        if isinstance(denoiser, DDPMUNet):
            prediction = denoiser(noised.z, embedding, *moment)
            return prediction, prediction
        parts = denoiser.parts(denoiser.fold(noised.z), embedding, *moment)
        gaussian, correction = (denoiser.unfold(part) for part in parts)
        mean = gaussian + correction
        return mean, gaussian + correction.detach() if self.deterministic_head is None else mean.detach()

    def _noise(self, z0: Tensor, draws: int, generator: torch.Generator | None) -> _Noised:
        """The first draw of all cases mostly where sampling starts, the others at any time."""
        cases, share = z0.shape[0], self.settings.noise.pure_noise_share
        shares = [share, *(0.0 for _ in range(draws - 1))]
        t = torch.cat([draw_times(cases, share, generator, z0.device) for share in shares])
        aim = z0.repeat(draws, *(1,) * (z0.ndim - 1))
        noise = torch.randn(aim.shape, generator=generator, device=z0.device)
        return _Noised(aim, noise, t, expand_to(self.signal(t), aim), add_noise(aim, noise, t, self.signal))

    def condition(self, x: Tensor) -> Conditioning:
        conditioning = self.image_encoder(x)
        return replace(conditioning, embedding=self.denoiser.prepare(conditioning.embedding))

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
        fold, unfold = self.denoiser.fold, self.denoiser.unfold
        called: list[Tensor] = []

        def denoise(z: Tensor, t: Tensor) -> Tensor:
            called.append(t)
            now = table.at(t)
            prediction = self.denoiser(z, conditioning.embedding, *now)
            clean = self.parameterization.clean(prediction, z, expand_to(now.signal, z))
            return self.label_encoder.latent_norm(clean) if self.settings.renormalize else clean

        def watch(time: Tensor, z: Tensor, z0: Tensor) -> None:
            on_step(time, unfold(z), unfold(z0))

        watched = on_step if on_step is ignore else watch
        z = unfold(sampler(denoise, fold(start), table.times, table.signal, lambda: fold(noise()), watched))
        if len(called) == 1 and self.deterministic_head is not None:
            z = z + self.deterministic_head(once(conditioning.features[-1])).float()
        return z

    def decode(self, z: Tensor, conditioning: Conditioning) -> Tensor:
        return self.decoder(z, conditioning.features)

    def reconstruct(self, y: Tensor) -> Tensor:
        """Logits of decode(encode(y)) without the image: the autoencoder's ceiling."""
        return self.decoder(self.label_encoder(y))


@dataclass(frozen=True)
class _Noised:
    """Latents on their way to noise: (draws * B, C, *S / f), the cases in their order, draw after draw."""

    aim: Tensor
    """z0, with the gradient that the denoiser's loss may send through it."""
    noise: Tensor
    t: Tensor
    a: Tensor
    """Signal power, for each latent."""
    z: Tensor


def _count_reconstructed(cases: int, settings: LossSettings, generator: torch.Generator | None) -> int:
    """How many cases of a batch the reconstruction term decodes: from the clean latent, without the image.

    In some steps none, because the autoencoder learns much faster than the rest and a decoded case is dear.
    They are decoded in one call with the others: a batch of one takes a path through PyTorch's CPU
    convolutions that is many times slower."""
    if settings.reconstruction == 0:
        return 0
    device = "cpu" if generator is None else generator.device
    chance = torch.rand((), generator=generator, device=device)
    return math.floor(settings.reconstruction_share * cases + float(chance))


def _common_factor(settings: ModelSettings) -> tuple[int, ...]:
    """What an image axis must be a multiple of: the deepest of the two U-shapes, counted from the image."""
    image = settings.image_encoder.stages.factor
    denoiser = settings.denoiser.stages.factor
    latent = settings.label_encoder.factor
    deepest = [max(i, f * d) for i, f, d in zip(image, latent, denoiser, strict=True)]
    return tuple(deepest)
