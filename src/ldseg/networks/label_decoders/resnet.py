"""Clean latent to logits (Zaman et al. 2026, the label decoder).

The image's features may be added at each level on the way up. They are dropped for some cases in training, so
that the latent can carry the label by itself. A linear shortcut reads a first guess of the logits off the
bare latent, which the levels correct: the latent learns to carry the label in far fewer steps. The image may
also say how sharp the answer is at each cell of the latent grid.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import Tensor, nn
from torch.nn import functional

from ldseg.diffusion.schedule import expand_to
from ldseg.networks.blocks import (
    OutputHead,
    ResidualBlock,
    convolution,
    depth_to_space,
    normalization,
    upsample,
)
from ldseg.networks.label_decoders.base import LabelDecoder
from ldseg.settings import DecoderSettings, ModelSettings, refuse_options

_ONE = 0.541324854612918  # softplus of it is 1
_STEM_KERNEL_SIZE = 3


class ResNetLabelDecoder(LabelDecoder):
    """Stages of residual blocks, to each of which the image's features may be added."""

    def __init__(
        self,
        spatial_dims: int,
        classes: int,
        latent_channels: int,
        image_widths: tuple[int, ...],
        settings: DecoderSettings,
        linear_shortcut: bool = False,
    ) -> None:
        super().__init__()
        stages = settings.stages
        widths, self.strides = stages.widths[::-1], stages.strides[::-1]
        self.stem = convolution(spatial_dims, latent_channels, widths[0], _STEM_KERNEL_SIZE)
        self.up_convs = nn.ModuleList(
            convolution(spatial_dims, before, after, 1) for before, after in pairwise(widths)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                ResidualBlock(spatial_dims, width, width, stages.dropout) for _ in range(stages.blocks)
            )
            for width in widths
        )
        self.image_convs = nn.ModuleList(
            convolution(spatial_dims, image_width, width, 1)
            for image_width, width in zip(image_widths[::-1], widths, strict=True)
            if settings.image_features
        )
        self.norm = normalization(widths[-1])
        self.head = convolution(spatial_dims, widths[-1], classes * prod(self.strides[-1]), 1)
        self.factor = stages.factor
        cell = classes * prod(self.factor)
        self.shortcut = convolution(spatial_dims, latent_channels, cell, 1) if linear_shortcut else None
        self.logit_scale = OutputHead(spatial_dims, image_widths[-1], 1) if settings.logit_scale else None

    @classmethod
    def from_settings(cls, settings: ModelSettings, feature_channels: tuple[int, ...]) -> ResNetLabelDecoder:
        """Return the label decoder of a model. Raises ValueError for settings that it does not have."""
        refuse_options("model.decoder", settings.decoder.options)
        stages = settings.decoder.stages
        if stages.attention or stages.stem_kernel_size != _STEM_KERNEL_SIZE:
            raise ValueError(
                f"model.decoder.stages.attention is {stages.attention} and stem_kernel_size "
                f"{stages.stem_kernel_size}; label decoder resnet has no attention and a kernel size of "
                f"{_STEM_KERNEL_SIZE}, leave both out"
            )
        return cls(
            settings.spatial_dims,
            settings.classes,
            settings.latent_channels,
            feature_channels,
            settings.decoder,
            settings.linear_shortcut,
        )

    def forward(
        self, z: Tensor, features: tuple[Tensor, ...] | None = None, keep: Tensor | None = None
    ) -> Tensor:
        h = self.stem(z)
        for level, blocks in enumerate(self.blocks):
            if level > 0:
                h = upsample(self.up_convs[level - 1](h), self.strides[level - 1])
            if features is not None and len(self.image_convs) > 0:
                added = self.image_convs[level](features[-1 - level])
                h = h + (added if keep is None else _kept(added, keep, h.shape[0]))
            for block in blocks:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(h)
        logits = depth_to_space(self.head(functional.silu(self.norm(h))), self.strides[-1]).float()
        if self.shortcut is not None:
            logits = logits + depth_to_space(self.shortcut(z), self.factor).float()
        if features is None or self.logit_scale is None:
            return logits
        # A normalised latent bounds the logits: background far from any structure would be no surer than a
        # wrong voxel at an edge. The factor is 1 at first and above 0, so that labels stay as they are.
        scale = functional.softplus(self.logit_scale(features[-1]).float() + _ONE)
        if keep is not None:  # 1 where there are no features
            scale = 1 + _kept(scale - 1, keep, logits.shape[0])
        return logits * upsample(scale, self.factor)


def _kept(features: Tensor, keep: Tensor, cases: int) -> Tensor:
    """Features of the cases to keep, zero for the others of a batch of `cases`."""
    kept = features * expand_to(keep.to(features.dtype), features)
    return functional.pad(kept, (0, 0) * (features.ndim - 1) + (0, cases - features.shape[0]))
