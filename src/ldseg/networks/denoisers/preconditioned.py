"""The denoiser: a small U-Net on the latent grid (Zaman et al. 2026, the conditional denoiser).

It is the only module that every step calls, so it is small. What the image says is made ready once, as three
parts of the embedding: a mean m of the clean latent, how far it may be off (variance s at each place and
channel), and features for the U-Net. Were the latent Gaussian around the mean, its mean given
z_t = a z0 + b e, with a and b the levels of signal and noise, would be

    m + g (z_t - a m),    g = a s / v,    v = a^2 s + b^2

which is where the U-Net F starts from; it sees what is residual, at unit size, and its output is scaled to
the error that the Gaussian answer has (Karras et al. 2022, table 1, with the mean as the data's mean):

    z0^ = m + g (z_t - a m) + b sqrt(s / v) F((z_t - a m) / sqrt(v), features, t)
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldseg.diffusion.schedule import NoiseLevel
from ldseg.networks.backbone import Stage
from ldseg.networks.blocks import (
    convolution,
    depth_to_space,
    normalization,
    space_to_depth,
    time_embedding,
    upsample,
)
from ldseg.networks.denoisers.base import Denoiser
from ldseg.settings import DenoiserSettings, ModelSettings, refuse_options
from ldseg.utils.device import memory_format

_FIRST_SPREAD = -3.0  # logit of the variance before anything is learnt


class PreconditionedDenoiser(Denoiser):
    """The clean estimate of a Gaussian latent, corrected by a U-Net.

    Raises:
        ValueError: the embedding does not fit.
    """

    parameterization = "sample"

    def __init__(
        self,
        spatial_dims: int,
        latent_channels: int,
        embedding_channels: int,
        settings: DenoiserSettings,
    ) -> None:
        super().__init__()
        wanted = settings.embedding_channels(latent_channels)
        if embedding_channels != wanted:
            raise ValueError(
                f"image_encoder.embedding_channels is {embedding_channels}; the denoiser takes {wanted}"
            )
        stages, time_channels = settings.stages, 4 * settings.time_features
        self.factor = stages.factor
        self.latent_channels = latent_channels
        self.stem_stride = stages.strides[0]
        folded = latent_channels * prod(self.stem_stride)
        widths, self.strides = stages.widths, stages.strides[1:]
        self.widths, self.blocks = widths, stages.blocks
        self.time_features = settings.time_features
        self.time_mlp = nn.Sequential(
            nn.Linear(settings.time_features, time_channels),
            nn.SiLU(),
            nn.Linear(time_channels, time_channels),
            nn.SiLU(),
        )
        self.stem = convolution(spatial_dims, folded, widths[0], stages.stem_kernel_size)
        self.down_stages = nn.ModuleList(
            Stage(spatial_dims, width, stages, level, time_channels) for level, width in enumerate(widths)
        )
        self.downsample = nn.ModuleList(
            convolution(spatial_dims, before, after, 3, stride)
            for before, after, stride in zip(widths, widths[1:], self.strides, strict=False)
        )
        above = list(reversed(range(len(widths) - 1)))
        self.up_convs = nn.ModuleList(
            convolution(spatial_dims, widths[level + 1], widths[level], 1) for level in above
        )
        self.up_stages = nn.ModuleList(
            Stage(spatial_dims, widths[level], stages, level, time_channels) for level in above
        )
        self.norm = normalization(widths[0])
        self.head = convolution(spatial_dims, widths[0], folded, stages.stem_kernel_size)

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> PreconditionedDenoiser:
        """Return the denoiser of a model."""
        refuse_options("model.denoiser", settings.denoiser.options)
        return cls(
            settings.spatial_dims,
            settings.latent_channels,
            settings.image_encoder.embedding_channels,
            settings.denoiser,
        )

    def forward(self, z: Tensor, prepared: Tensor, level: NoiseLevel, time: Tensor) -> Tensor:
        mean, weight, shrinkage, residual = self._terms(z, prepared, level, time)
        return torch.addcmul(mean, weight, shrinkage + residual)

    def predict_for_loss(
        self, z: Tensor, prepared: Tensor, level: NoiseLevel, time: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the clean estimate twice, the second without a gradient for the U-Net, which learns from the
        latent alone: the segmentation loss, mostly at pure noise, would teach it to ignore z_t."""
        mean, weight, shrinkage, residual = self._terms(self.fold(z), prepared, level, time)
        gaussian = self.unfold(torch.addcmul(mean, weight, shrinkage))
        correction = self.unfold(weight * residual)
        return gaussian + correction, gaussian + correction.detach()

    def fold(self, z: Tensor) -> Tensor:
        """Return a latent (B, C, *s) as cells of one value per channel, channels last in memory."""
        layout = memory_format(z.ndim - 2)
        return space_to_depth(z, self.stem_stride).contiguous(memory_format=layout)

    def unfold(self, z: Tensor) -> Tensor:
        return depth_to_space(z, self.stem_stride)

    def embed(self, t: Tensor) -> Tensor:
        """Return the time biases of all blocks at times t (n,), concatenated: (n, T)."""
        time = self.time_mlp(time_embedding(t, self.time_features))
        levels = [*self.down_stages, *self.up_stages]
        return torch.cat([bias for level in levels for bias in level.time_biases(time)], 1)  # pyright: ignore[reportCallIssue]

    def prepare(self, embedding: Tensor) -> Tensor:
        """Return what no step changes: mean, standard deviation and features, folded."""
        c = self.latent_channels
        mean, spread, features = embedding.tensor_split([c, 2 * c], 1)
        deviation = torch.sigmoid(spread.float() + _FIRST_SPREAD).sqrt().to(embedding.dtype)
        return torch.cat([self.fold(part) for part in (mean, deviation, features)], 1)

    def _terms(
        self, z: Tensor, prepared: Tensor, level: NoiseLevel, time: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the mean m, the factor sqrt(s / v), the shrinkage term and the U-Net's residual."""
        c = z.shape[1]
        mean, deviation, features = (
            prepared[:, :c].float(),
            prepared[:, c : 2 * c].float(),
            prepared[:, 2 * c :],
        )
        level = level.expand_to(z)
        reached = level.signal * deviation
        one = torch.addcmul(level.noise_power, reached, reached).rsqrt()  # 1 / sqrt(v)
        off = torch.addcmul(z, -level.signal, mean) * one
        residual = self._network(off.to(features.dtype), features, time)
        return mean, one * deviation, reached * off, level.noise * residual.float()

    def _network(self, z: Tensor, features: Tensor, time: Tensor) -> Tensor:
        time_biases = self._split_by_stage(time)
        h = self.down_stages[0](self.stem(z) + features, next(time_biases))
        passed: list[Tensor] = []
        for down, level in zip(self.downsample, list(self.down_stages)[1:], strict=True):
            passed.append(h)
            h = level(down(h), next(time_biases))
        ups = zip(self.up_convs, reversed(self.strides), self.up_stages, strict=True)
        for raise_channels, stride, level in ups:
            h = level(passed.pop() + upsample(raise_channels(h), stride), next(time_biases))
        return self.head(functional.silu(self.norm(h)))

    def _split_by_stage(self, time: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Split the time embedding into the time biases of the blocks of each stage, down and then up."""
        widths = [*self.widths, *reversed(self.widths[:-1])]
        levels = time.split([self.blocks * width for width in widths], 1)
        return (time_biases.split(width, 1) for time_biases, width in zip(levels, widths, strict=True))
