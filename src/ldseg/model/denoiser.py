"""The denoiser: a small U-Net on the latent grid (Zaman et al. 2026, the conditional denoiser).

It is the only module that every step calls, so it is small. What the image says is made ready once, as three
parts of the embedding: a guess m of the clean latent, how far it may be off (variance s at each place and
channel), and features for the U-Net. Were the latent Gaussian around the guess, its mean given z_t would be

    m + g (z_t - sqrt(a) m),    g = sqrt(a) s / v,    v = a s + 1 - a

which is where the U-Net F starts from; it sees what is left, at unit size, and its output is scaled to the
error that the Gaussian answer has (Karras et al. 2022, table 1, with the guess as the data's mean):

    z0^ = m + g (z_t - sqrt(a) m) + sqrt(s (1 - a) / v) F((z_t - sqrt(a) m) / sqrt(v), features, t)
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldseg.device import memory_format
from ldseg.diffusion.schedule import expand_to
from ldseg.model.blocks import (
    convolution,
    depth_to_space,
    enlarge,
    normalisation,
    once,
    space_to_depth,
    time_embedding,
)
from ldseg.model.pyramid import Level
from ldseg.settings import DenoiserSettings

_FIRST_SPREAD = -3.0  # logit of the variance before anything is learnt


class Denoiser(nn.Module):
    """z as `fold` made it of (B, C, *s), what `prepare` made of the embedding (B, E, *s), the signal power
    a(t) (B,) and what `embed` made of t (B,) to the clean estimate in the form of z. Time and embedding may
    be one for all cases.

    Raises:
        ValueError: the embedding does not fit.
    """

    def __init__(
        self,
        dimensions: int,
        latent_channels: int,
        embedding: int,
        settings: DenoiserSettings,
    ) -> None:
        super().__init__()
        wanted = settings.embedding(latent_channels)
        if embedding != wanted:
            raise ValueError(f"image_encoder.embedding is {embedding}; the denoiser takes {wanted}")
        pyramid, time = settings.pyramid, 4 * settings.time_features
        self.latent_channels = latent_channels
        self.stem_stride = pyramid.strides[0]
        folded = latent_channels * prod(self.stem_stride)
        widths, self.strides = pyramid.widths, pyramid.strides[1:]
        self.time_features = settings.time_features
        self.time = nn.Sequential(
            nn.Linear(settings.time_features, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU()
        )
        self.stem = convolution(dimensions, folded, widths[0], pyramid.stem_width)
        self.down_levels = nn.ModuleList(
            Level(dimensions, width, pyramid, level, time) for level, width in enumerate(widths)
        )
        self.downs = nn.ModuleList(
            convolution(dimensions, before, after, 3, stride)
            for before, after, stride in zip(widths, widths[1:], self.strides, strict=False)
        )
        above = list(reversed(range(len(widths) - 1)))
        self.raises = nn.ModuleList(
            convolution(dimensions, widths[level + 1], widths[level], 1) for level in above
        )
        self.up_levels = nn.ModuleList(
            Level(dimensions, widths[level], pyramid, level, time) for level in above
        )
        self.norm = normalisation(dimensions, widths[0], pyramid.norm)
        self.head = convolution(dimensions, widths[0], folded, pyramid.stem_width)

    def forward(self, z: Tensor, prepared: Tensor, signal: Tensor, time: Tensor) -> Tensor:
        gaussian, scale, left = self._terms(z, prepared, signal, time)
        return torch.addcmul(gaussian, scale, left)

    def parts(self, z: Tensor, prepared: Tensor, signal: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """The Gaussian answer and the U-Net's correction; their sum is the clean estimate."""
        gaussian, scale, left = self._terms(z, prepared, signal, time)
        return gaussian, scale * left

    def fold(self, z: Tensor) -> Tensor:
        """A latent (B, C, *s) as the cells that the denoiser works on, channels last in memory."""
        layout = memory_format(z.ndim - 2)
        return space_to_depth(z, self.stem_stride).contiguous(memory_format=layout)

    def unfold(self, z: Tensor) -> Tensor:
        """The inverse of `fold`."""
        return depth_to_space(z, self.stem_stride)

    def embed(self, t: Tensor) -> Tensor:
        """What the network is told of the times t (n,): (n, T)."""
        return self.time(time_embedding(t, self.time_features))

    def prepare(self, embedding: Tensor) -> Tensor:
        """What no step changes: guess, deviation and features, folded."""
        c = self.latent_channels
        guess, spread, said = embedding.tensor_split([c, 2 * c], 1)
        deviation = torch.sigmoid(spread.float() + _FIRST_SPREAD).sqrt().to(embedding.dtype)
        return torch.cat([self.fold(part) for part in (guess, deviation, said)], 1)

    def _terms(
        self, z: Tensor, prepared: Tensor, signal: Tensor, time: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The Gaussian answer, the scale of the correction, and what it scales."""
        c, prepared = z.shape[1], once(prepared)
        guess, deviation, said = prepared[:, :c].float(), prepared[:, c : 2 * c].float(), prepared[:, 2 * c :]
        a = expand_to(signal, z)
        reached = a.sqrt() * deviation
        one = torch.addcmul(1 - a, reached, reached).rsqrt()  # 1 / sqrt(v)
        weight = one * deviation
        off = torch.addcmul(z, -a.sqrt(), guess) * one
        gaussian = torch.addcmul(guess, weight * reached, off)
        left = self._network(off.to(said.dtype), said, time)
        return gaussian, (1 - a).sqrt() * weight, left.float()

    def _network(self, z: Tensor, said: Tensor, time: Tensor) -> Tensor:
        h = self.down_levels[0](self.stem(z) + said, time)
        passed: list[Tensor] = []
        for down, level in zip(self.downs, list(self.down_levels)[1:], strict=True):
            passed.append(h)
            h = level(down(h), time)
        ups = zip(self.raises, reversed(self.strides), self.up_levels, strict=True)
        for raise_channels, stride, level in ups:
            h = level(passed.pop() + enlarge(raise_channels(h), stride), time)
        return self.head(functional.silu(self.norm(h)))
