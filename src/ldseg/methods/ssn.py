"""Stochastic segmentation network: a low-rank normal distribution over the logits of the whole image.

    eta | x ~ N(mu(x), P(x) P(x)^T + D(x))          D diagonal, P of rank R (Monteiro et al. 2020,
    eta = mu + P a + sqrt(D) e                      arXiv 2006.06015); a ~ N(0, I_R), e ~ N(0, I)
    log p(y | x) ~ logsumexp_m sum_i log p(y_i | eta_i^m) - log M

i counts voxels, m the M samples of eta. Only draws are needed, never a determinant or a factorization, so
that no covariance is too small or too large to train with. The coefficients a are numbers of the whole image:
tiles that share them draw one sample together. The paper trains the mean alone in its first epochs; here the
covariance is small at first and grows from there.
Shapes: B cases, N samples, K classes, *S voxels (V of them), R = `RANK`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ldseg.methods.base import DEFAULT_LOSS, Losses, SinglePass
from ldseg.methods.losses import segmentation_loss
from ldseg.methods.unet import build_unet
from ldseg.networks.blocks import depth_to_space
from ldseg.networks.image_encoders.base import Conditioning
from ldseg.settings import LossSettings, ModelSettings
from ldseg.utils.device import without_autocast

RANK = 10
"""Columns of P, as in the paper."""
TRAINING_SAMPLES = 20
"""Samples M of the likelihood, as in the paper."""
_FIRST_FACTOR, _FIRST_DEVIATION = 0.3, -3.0
"""Factor of the network's P, and offset of sqrt(D) before softplus: the covariance is small at first."""
_LEAST_DEVIATION = 1e-3
_TOGETHER = 2**24
"""Logits whose likelihood is computed at once; of more, gradients are computed chunk by chunk."""


@dataclass(frozen=True)
class LogitDistribution:
    """Normal distribution of the logits of B images, float32."""

    mean: Tensor
    """mu (B, K, *S)."""
    deviation: Tensor
    """sqrt(D) (B, K, *S)."""
    factor: Tensor
    """P (B, R, K, *S)."""

    def sample(self, coefficients: Tensor, noise: Tensor) -> Tensor:
        """Return logits (B, N, K, *S) from a (B, N, R) and e (B, N, K, *S), both standard normal."""
        with without_autocast(self.mean.device):
            independent = torch.addcmul(self.mean[:, None], self.deviation[:, None], noise)
            return torch.baddbmm(independent.flatten(2), coefficients, self.factor.flatten(2)).view_as(noise)


class StochasticSegmentationNetwork(SinglePass):
    """The U-Net of the same settings, with mean, deviation and low-rank factor of the logits as its output.

    A "latent" holds the random numbers of a sample: R coefficients, the same in every cell, and the noise of
    all K logits of the voxels of a cell.
    """

    stochastic = True
    global_channels = RANK

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.classes = settings.classes
        self.latent_factor = settings.image_encoder.stages.strides[0]
        self.latent_channels = RANK + settings.classes * prod(self.latent_factor)
        self.encoded_maps = settings.classes * (2 + RANK)
        self.image_encoder, self.decoder = build_unet(settings, self.encoded_maps)
        self.image_factor = self.image_encoder.factor

    def loss(
        self,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator | None = None,
        settings: LossSettings = DEFAULT_LOSS,
    ) -> Losses:
        """Return the negative log-likelihood of the label maps, by labelled voxel, in place of the
        cross-entropy; other terms are those of the mean logits."""
        distribution = self.distribution(self.encode_image(x))
        shape = distribution.mean.shape[1:]
        size = (len(x), TRAINING_SAMPLES)
        coefficients = torch.randn((*size, RANK), generator=generator, device=x.device)
        noise = torch.randn((*size, *shape), generator=generator, device=x.device)
        likelihood = log_likelihood(distribution, coefficients, noise, y)
        negative = -likelihood.sum() / (y >= 0).sum().clamp_min(1)
        total = settings.cross_entropy * negative
        parts = {"segmentation": negative.detach()}
        if settings.dice > 0 or settings.terms:
            others = segmentation_loss(distribution.mean, y, replace(settings, cross_entropy=0.0))
            total, parts["mean"] = total + others, others.detach()
        return Losses(total, parts)

    def encode_image(self, x: Tensor) -> Conditioning:
        """Return the maps of the distribution (B, (2 + R) K, *S) as the embedding: the whole network runs
        once for all samples."""
        encoded = self.image_encoder(x)
        return Conditioning(self.decoder(encoded.embedding, encoded.features), encoded.features)

    def distribution(self, conditioning: Conditioning) -> LogitDistribution:
        """Return the distribution of the logits of encoded images."""
        maps = conditioning.embedding.float().unflatten(1, (2 + RANK, self.classes))
        deviation = functional.softplus(maps[:, 1] + _FIRST_DEVIATION) + _LEAST_DEVIATION
        return LogitDistribution(maps[:, 0], deviation, _FIRST_FACTOR * maps[:, 2:])

    def decode(self, z: Tensor, conditioning: Conditioning) -> Tensor:
        """Return the logits of the random numbers z; the mean logits for zeros."""
        found = self.distribution(conditioning)
        coefficients = z[:, :RANK].flatten(2)[..., 0].float()
        noise = depth_to_space(z[:, RANK:].float(), self.latent_factor)
        if found.mean.shape[0] == 1:  # one image for all samples
            return found.sample(coefficients[None], noise[None])[0]
        return found.sample(coefficients[:, None], noise[:, None])[:, 0]


def log_likelihood(distribution: LogitDistribution, coefficients: Tensor, noise: Tensor, y: Tensor) -> Tensor:
    """Return the Monte-Carlo estimate of log p(y | x), (B,), from N samples of random numbers, a (B, N, R)
    and e (B, N, K, *S). y is (B, *S), negative where ignored: such voxels have no part in it."""
    samples = coefficients.shape[1]
    most = max(1, _TOGETHER * samples // noise.numel())
    of_chunk = partial(_log_probability, distribution)
    if most < samples:  # the logits of a chunk are computed again for its gradient
        of_chunk = partial(checkpoint, of_chunk, use_reentrant=False, preserve_rng_state=False)
    parts = [
        of_chunk(coefficients[:, first : first + most], noise[:, first : first + most], y)
        for first in range(0, samples, most)
    ]
    return torch.cat(parts, 1).logsumexp(1) - math.log(samples)


def _log_probability(
    distribution: LogitDistribution, coefficients: Tensor, noise: Tensor, y: Tensor
) -> Tensor:
    """Return sum_i log p(y_i | eta_i) of each sample, (B, N)."""
    logits = distribution.sample(coefficients, noise)
    labels = y.clamp_min(-1).long()[:, None].expand(-1, logits.shape[1], *y.shape[1:])
    error = functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(0, 1), ignore_index=-1, reduction="none"
    )
    return -error.flatten(1).sum(1).unflatten(0, logits.shape[:2])
