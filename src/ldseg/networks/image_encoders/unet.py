"""Image to its embedding on the latent grid, once per image (Zaman et al. 2026, the image encoder).

Levels below the latent grid give the embedding its context; they are brought back up and added, so that the
denoiser, which runs at every step, need not look far itself.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ldseg.networks.backbone import EncoderBackbone
from ldseg.networks.blocks import ResidualBlock, convolution, normalization, upsample
from ldseg.networks.image_encoders.base import Conditioning, ImageEncoder
from ldseg.settings import ImageEncoderSettings, ModelSettings, refuse_options


class UNetEncoder(ImageEncoder):
    """The way down of a U-Net and the lower part of its way up, to the latent grid."""

    def __init__(self, spatial_dims: int, in_channels: int, settings: ImageEncoderSettings) -> None:
        super().__init__()
        stages = settings.stages
        self.factor = stages.factor
        self.feature_channels = stages.widths[: len(stages.widths) - settings.context_stages]
        self.backbone = EncoderBackbone(spatial_dims, in_channels, stages)
        below = range(len(stages.widths) - settings.context_stages, len(stages.widths))
        self.up_strides = [stages.strides[level] for level in reversed(below)]
        self.up_convs = nn.ModuleList(
            convolution(spatial_dims, stages.widths[level], stages.widths[level - 1], 1)
            for level in reversed(below)
        )
        self.merge_blocks = nn.ModuleList(
            ResidualBlock(
                spatial_dims,
                stages.widths[level - 1],
                stages.widths[level - 1],
                stages.dropout,
            )
            for level in reversed(below)
        )
        width = stages.widths[-1 - settings.context_stages]
        self.norm = normalization(width)
        self.head = convolution(spatial_dims, width, settings.embedding_channels, 1)

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> UNetEncoder:
        """Return the image encoder of a model."""
        refuse_options("model.image_encoder", settings.image_encoder.options)
        return cls(settings.spatial_dims, settings.in_channels, settings.image_encoder)

    def forward(self, x: Tensor) -> Conditioning:
        features = self.backbone(x)
        h = features.pop()
        steps = zip(self.up_convs, self.up_strides, self.merge_blocks, strict=True)
        for raise_channels, stride, merge in steps:
            h = merge(features.pop() + upsample(raise_channels(h), stride))
        return Conditioning(self.head(functional.silu(self.norm(h))), (*features, h))
