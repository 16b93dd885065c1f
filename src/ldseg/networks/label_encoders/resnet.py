"""Label map to clean latent z0 through residual blocks (Zaman et al. 2026, the label encoder)."""

from __future__ import annotations

from math import prod

from torch import Tensor
from torch.nn import functional

from ldseg.networks.backbone import EncoderBackbone
from ldseg.networks.blocks import convolution, normalization
from ldseg.networks.label_encoders.base import LabelEncoder, channel_rms_norm, one_hot_cells
from ldseg.settings import ModelSettings, StagesSettings, refuse_options


class ResNetLabelEncoder(LabelEncoder):
    """Stages of residual blocks, beside a linear map of each latent cell."""

    def __init__(
        self,
        spatial_dims: int,
        classes: int,
        latent_channels: int,
        settings: StagesSettings,
        linear_shortcut: bool = False,
    ) -> None:
        super().__init__()
        width = settings.widths[-1]
        self.classes = classes
        self.backbone = EncoderBackbone(spatial_dims, classes, settings)
        self.norm = normalization(width)
        self.head = convolution(spatial_dims, width, latent_channels, 1)
        self.factor = settings.factor
        cell = classes * prod(self.factor)
        self.shortcut = convolution(spatial_dims, cell, latent_channels, 1) if linear_shortcut else None

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> ResNetLabelEncoder:
        """Return the label encoder of a model."""
        refuse_options("model.label_encoder", settings.label_encoder.options)
        return cls(
            settings.spatial_dims,
            classes=settings.classes,
            latent_channels=settings.latent_channels,
            settings=settings.label_encoder,
            linear_shortcut=settings.linear_shortcut,
        )

    def forward(self, y: Tensor) -> Tensor:
        stem_stride = self.backbone.stem_stride
        cells = one_hot_cells(y, self.classes, stem_stride)
        h = self.backbone.encode_cells(cells)[-1]
        z = self.head(functional.silu(self.norm(h)))
        if self.shortcut is not None:
            same = self.factor == stem_stride
            z = z + self.shortcut(cells if same else one_hot_cells(y, self.classes, self.factor))
        return channel_rms_norm(z.float())
