"""Probabilistic U-Net: a U-Net whose last features are mixed with a few random numbers of the whole image.

    z | x    ~ N(mu(x), diag sigma(x)^2)             the prior, N = 6 numbers (Kohl et al. 2018,
    z | x, y ~ N(mu(x, y), diag sigma(x, y)^2)       the posterior, in training only     arXiv 1806.05034)
    logits   = three 1x1 convolutions of the U-Net's last features beside z, the same z at every position
    loss     = -sum_i log p(y_i | x, z) + beta KL(posterior || prior),  z drawn from the posterior

i counts the labelled voxels. The paper sums the cross-entropy over them and takes beta = 10; here both terms
are divided by their number, so that the first is the mean that all models of this package are trained by and
the weight of a nat is beta / voxels. Without that division the mean would be thousands of times smaller than
the divergence, and z would be ignored. Other terms of the loss are those of the same draw, with z held.
A sample is z = mu + sigma e: the prior is the standard normal e, and e is what a prediction draws. It is the
same for all tiles of an image, each of which has a prior of its own.
For two classes and one channel the U-Net with its mixing has 1,240,332 parameters in 2D (the plain one
1,237,132), and 2,184,128 in 3D (2,169,408), by default; prior and posterior, each the encoder's stages, have
0.95 million each in 2D, 1.5 in 3D. The posterior is stored with the others, so that a training can begin with
a stored model.
Shapes: B cases, K classes, M channels, *S voxels, N = `NUMBERS`, H mixed features, s the stride of the first
stage, whose grid the last features of the U-Net lie on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldseg.methods.base import DEFAULT_LOSS, Losses, SinglePass
from ldseg.methods.losses import cross_entropy, segmentation_loss
from ldseg.methods.unet import build_unet
from ldseg.networks.backbone import EncoderBackbone
from ldseg.networks.blocks import convolution, depth_to_space, normalization, space_to_depth
from ldseg.networks.image_encoders.base import Conditioning
from ldseg.networks.label_encoders.base import one_hot
from ldseg.settings import LossSettings, ModelSettings, StagesSettings

NUMBERS = 6
"""Numbers of z, as in the paper."""
BETA = 10.0
"""Weight of the divergence beside the cross-entropy summed over voxels, as in the paper."""
_LARGEST_LOG = 5.0
"""Bound of log sigma: the divergence stays finite."""
_FIRST_GAIN, _FIRST_LOG = 10.0, -2.0
"""Factor of the posterior's first mu, and offset of its log sigma. Masks of one image differ in few voxels,
which the mean over all positions hardly shows: without these the noise hides it, and z is ignored from the
first steps on."""


@dataclass(frozen=True)
class DiagonalNormal:
    """Normal distribution of the numbers of B images, float32."""

    mean: Tensor
    """mu (B, N)."""
    log_deviation: Tensor
    """log sigma (B, N)."""

    def sample(self, noise: Tensor) -> Tensor:
        """Return mu + sigma e, (B, N), from standard normal noise e (B, N)."""
        return self.mean + self.log_deviation.exp() * noise

    def divergence(self, other: DiagonalNormal) -> Tensor:
        """Return KL(self || other) in nats, (B,)."""
        log_ratio = other.log_deviation - self.log_deviation
        distance = (self.mean - other.mean).square() * (-2 * other.log_deviation).exp()
        return (log_ratio + 0.5 * ((-2 * log_ratio).exp() + distance - 1)).sum(1)


class NormalEncoder(nn.Module):
    """The stages of the image encoder, then the mean over all positions, to the distribution of z."""

    def __init__(self, spatial_dims: int, in_channels: int, stages: StagesSettings) -> None:
        super().__init__()
        self.backbone = EncoderBackbone(spatial_dims, in_channels, stages)
        self.norm = normalization(stages.widths[-1])
        self.head = nn.Linear(stages.widths[-1], 2 * NUMBERS)

    def forward(self, x: Tensor) -> DiagonalNormal:
        features = functional.silu(self.norm(self.backbone(x)[-1])).flatten(2).mean(2)
        mean, log_deviation = self.head(features).float().chunk(2, 1)
        return DiagonalNormal(mean, _LARGEST_LOG * torch.tanh(log_deviation / _LARGEST_LOG))


class ProbabilisticUNet(SinglePass):
    """The U-Net of the same settings, with a prior and a posterior network beside it.

    A "latent" holds the noise e of a sample, N numbers that are the same in every cell.
    """

    stochastic = True
    global_channels = NUMBERS
    latent_channels = NUMBERS

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.classes = settings.classes
        self.latent_factor = settings.label_encoder.factor
        dims, stages = settings.spatial_dims, settings.image_encoder.stages
        self.stride = stages.strides[0]
        cell = prod(self.stride)
        maps = max(2, ceil(settings.decoder.stages.widths[0] / cell))
        hidden = maps * cell
        self.encoded_maps = maps + ceil(2 * NUMBERS / cell)
        self.image_encoder, self.decoder = build_unet(settings, maps)
        self.image_factor = self.image_encoder.factor
        self.prior = NormalEncoder(dims, settings.in_channels, stages)
        self.posterior = NormalEncoder(dims, settings.in_channels + settings.classes, stages)
        with torch.no_grad():
            self.posterior.head.weight[:NUMBERS] *= _FIRST_GAIN
            self.posterior.head.bias[NUMBERS:] += _FIRST_LOG
        # The first 1x1 convolution, of features beside z, is the sum of one of the features, with which the
        # decoder ends, and of one of z, which is the same at all positions.
        self.numbers = nn.Linear(NUMBERS, hidden, bias=False)
        self.mixing = nn.Sequential(
            nn.SiLU(),
            convolution(dims, hidden, hidden, 1),
            nn.SiLU(),
            convolution(dims, hidden, settings.classes * cell, 1),
        )
        for layer in (self.mixing[1], self.mixing[3]):
            # Swish halves what is small: with weights of the usual size two of them in a row leave so little
            # of features and gradients that the first hundred steps learn next to nothing.
            nn.init.normal_(layer.get_parameter("weight"), std=2 / hidden**0.5)

    def loss(
        self,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator | None = None,
        settings: LossSettings = DEFAULT_LOSS,
    ) -> Losses:
        """Return the bound of the negative log-likelihood, by labelled voxel, in place of the cross-entropy;
        other terms are those of the same draw."""
        conditioning = self.encode_image(x)
        prior = self.distribution(conditioning)
        posterior = self.posterior(torch.cat([x, one_hot(y, self.classes)], 1))
        noise = torch.randn(prior.mean.shape, generator=generator, device=x.device)
        numbers = posterior.sample(noise)
        error = cross_entropy(self._mix(conditioning, numbers), y)
        labelled = (y >= 0).flatten(1)
        divergence = posterior.divergence(prior) * labelled.any(1)  # of no labels there is nothing to tell
        bound = error + BETA * divergence.sum() / labelled.sum().clamp_min(1)
        total = settings.cross_entropy * bound
        parts = {"segmentation": error.detach(), "divergence": divergence.detach().mean()}
        if settings.dice > 0 or settings.terms:
            # z is held: these terms teach what is made of it, the bound alone says how much it may tell. For
            # terms that weigh thousands of nats the posterior would leave the prior far behind.
            held = self._mix(conditioning, numbers.detach())
            others = segmentation_loss(held, y, replace(settings, cross_entropy=0.0))
            total, parts["others"] = total + others, others.detach()
        return Losses(total, parts)

    def encode_image(self, x: Tensor) -> Conditioning:
        """Return the features to mix and the prior's mean and log deviation, (B, H + 2 N, *S / s), as the
        embedding: the networks run once for all samples."""
        prior = self.prior(x)
        encoded = self.image_encoder(x)
        features = space_to_depth(self.decoder(encoded.embedding, encoded.features), self.stride)
        moments = _at_one_position(torch.cat([prior.mean, prior.log_deviation], 1), features)
        everywhere = moments.expand(-1, -1, *features.shape[2:])
        return Conditioning(torch.cat([features, everywhere], 1), encoded.features)

    def distribution(self, conditioning: Conditioning) -> DiagonalNormal:
        """Return the prior of encoded images."""
        moments = conditioning.embedding[:, -2 * NUMBERS :].flatten(2)[..., 0]
        return DiagonalNormal(*moments.chunk(2, 1))

    def decode(self, z: Tensor, conditioning: Conditioning) -> Tensor:
        """Return the logits of the noise z; those at the prior's mean for zeros. The image may be one for all
        samples."""
        noise = z.flatten(2)[..., 0].float()
        return self._mix(conditioning, self.distribution(conditioning).sample(noise))

    def _mix(self, conditioning: Conditioning, numbers: Tensor) -> Tensor:
        """Return the logits (B, K, *S), float32, of features and numbers (B, N)."""
        features = conditioning.embedding[:, : -2 * NUMBERS]
        mixed = self.mixing(features + _at_one_position(self.numbers(numbers), features))
        return depth_to_space(mixed, self.stride).float()


def _at_one_position(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (B, C) to (B, C, 1, 1, ...) with as many axes as `like`."""
    return values.reshape(*values.shape, *([1] * (like.ndim - 2)))
