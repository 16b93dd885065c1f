"""Image to its embedding on the latent grid, once per image (Zaman et al. 2026, the image encoder).

Levels below the latent grid give the embedding its context; they are brought back up and added, so that the
denoiser, which runs at every step, need not look far itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from ldseg.networks.backbone import Pyramid
from ldseg.networks.blocks import ResidualBlock, convolution, enlarge, normalisation
from ldseg.settings import ImageEncoderSettings


@dataclass(frozen=True)
class Conditioning:
    """What the image says: computed once, used by every step and sample."""

    embedding: Tensor
    """(B, E, *S / f), or what a denoiser's `prepare` made of it."""
    features: tuple[Tensor, ...]
    """Finest level first, the last on the latent grid."""

    def repeat(self, samples: int) -> Conditioning:
        """Each case `samples` times in a row."""
        return Conditioning(
            self.embedding.repeat_interleave(samples, 0),
            tuple(f.repeat_interleave(samples, 0) for f in self.features),
        )


class ImageEncoder(nn.Module):
    """x (B, M, *S) to `Conditioning`."""

    def __init__(self, dimensions: int, channels: int, settings: ImageEncoderSettings) -> None:
        super().__init__()
        pyramid = settings.pyramid
        self.context = settings.context
        self.pyramid = Pyramid(dimensions, channels, pyramid)
        below = range(len(pyramid.widths) - settings.context, len(pyramid.widths))
        self.up_strides = [pyramid.strides[level] for level in reversed(below)]
        self.raises = nn.ModuleList(
            convolution(dimensions, pyramid.widths[level], pyramid.widths[level - 1], 1)
            for level in reversed(below)
        )
        self.merges = nn.ModuleList(
            ResidualBlock(
                dimensions,
                pyramid.widths[level - 1],
                pyramid.widths[level - 1],
                pyramid.norm,
                pyramid.dropout,
            )
            for level in reversed(below)
        )
        width = pyramid.widths[-1 - settings.context]
        self.norm = normalisation(dimensions, width, pyramid.norm)
        self.head = convolution(dimensions, width, settings.embedding, 1)
        last = settings.embedding_norm
        self.last = normalisation(dimensions, settings.embedding, last) if last != "none" else nn.Identity()

    def forward(self, x: Tensor) -> Conditioning:
        features = self.pyramid(x)
        h = features.pop()
        steps = zip(self.raises, self.up_strides, self.merges, strict=True)
        for raise_channels, stride, merge in steps:
            h = merge(features.pop() + enlarge(raise_channels(h), stride))
        embedding = self.last(self.head(functional.silu(self.norm(h))))
        return Conditioning(embedding, (*features, h))
