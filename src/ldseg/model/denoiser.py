"""The denoiser: a small U-Net on the latent grid (Zaman et al. 2026, the conditional denoiser).

It sees the noisy latent, the image's embedding and the time, and is the only module that every step calls, so
it is small: what the image alone says of the latent goes straight from the embedding to the output by a
linear map, and the U-Net adds what the noisy latent and the neighbourhood change about it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldseg.model.blocks import convolution, enlarge, normalisation, time_embedding
from ldseg.model.pyramid import Level
from ldseg.settings import DenoiserSettings


class Denoiser(nn.Module):
    """z (B, C, *s), embedding (B, E, *s), t (B,) to a prediction (B, C, *s)."""

    def __init__(
        self, dimensions: int, latent_channels: int, embedding: int, settings: DenoiserSettings
    ) -> None:
        super().__init__()
        pyramid, time = settings.pyramid, 4 * settings.time_features
        widths, self.strides = pyramid.widths, pyramid.strides[1:]
        self.time_features = settings.time_features
        self.time = nn.Sequential(
            nn.Linear(settings.time_features, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU()
        )
        self.guess = convolution(dimensions, embedding, latent_channels, 1)
        self.stem = convolution(dimensions, latent_channels + embedding, widths[0], pyramid.stem_width)
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
        self.head = convolution(dimensions, widths[0], latent_channels)

    def forward(self, z: Tensor, embedding: Tensor, t: Tensor) -> Tensor:
        time = self.time(time_embedding(t, self.time_features))
        h = self.down_levels[0](self.stem(torch.cat([z.to(embedding.dtype), embedding], 1)), time)
        passed: list[Tensor] = []
        for down, level in zip(self.downs, list(self.down_levels)[1:], strict=True):
            passed.append(h)
            h = level(down(h), time)
        ups = zip(self.raises, reversed(self.strides), self.up_levels, strict=True)
        for raise_channels, stride, level in ups:
            h = level(passed.pop() + enlarge(raise_channels(h), stride), time)
        return self.guess(embedding).float() + self.head(functional.silu(self.norm(h))).float()
