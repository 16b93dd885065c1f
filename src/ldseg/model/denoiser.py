"""The denoiser: a small U-Net on the latent grid (Zaman et al. 2026, the conditional denoiser).

It is the only module that every step calls, so it is small. What the image says is made ready once: a part of
the embedding is a first guess of the clean latent, which goes straight to the output, the other is added to
the stem's features. The U-Net finds what the noisy latent and the neighbourhood change about the guess.
"""

from __future__ import annotations

from math import prod

from torch import Tensor, nn
from torch.nn import functional

from ldseg.model.blocks import (
    convolution,
    depth_to_space,
    enlarge,
    normalisation,
    space_to_depth,
    time_embedding,
)
from ldseg.model.pyramid import Level
from ldseg.settings import DenoiserSettings


class Denoiser(nn.Module):
    """z (B, C, *s), embedding (B, E, *s), t (B,) to a prediction (B, C, *s).

    Raises:
        ValueError: the embedding or the first width does not fit.
    """

    def __init__(
        self, dimensions: int, latent_channels: int, embedding: int, settings: DenoiserSettings
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

    def forward(self, z: Tensor, embedding: Tensor, t: Tensor) -> Tensor:
        time = self.time(time_embedding(t, self.time_features))
        guess, said = embedding.tensor_split([self.latent_channels], 1)
        h = self.stem(space_to_depth(z.to(embedding.dtype), self.stem_stride))
        h = self.down_levels[0](h + space_to_depth(said, self.stem_stride), time)
        passed: list[Tensor] = []
        for down, level in zip(self.downs, list(self.down_levels)[1:], strict=True):
            passed.append(h)
            h = level(down(h), time)
        ups = zip(self.raises, reversed(self.strides), self.up_levels, strict=True)
        for raise_channels, stride, level in ups:
            h = level(passed.pop() + enlarge(raise_channels(h), stride), time)
        change = self.head(functional.silu(self.norm(h)))
        return (guess + depth_to_space(change, self.stem_stride)).float()
