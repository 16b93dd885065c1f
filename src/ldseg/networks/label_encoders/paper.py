"""The published label encoder: 185,617 parameters in 2D for labels of 512 x 512 in one input channel."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from ldseg.networks.label_encoders.base import LabelEncoder, one_hot
from ldseg.networks.paper_blocks import (
    EPSILON,
    PostActivationBlock,
    convolution,
    pooling,
    refuse_other_stages,
)
from ldseg.settings import ModelSettings, StagesSettings, refuse_options


class PaperLabelEncoder(LabelEncoder):
    """Residual blocks with pooling (2D) or strided convolutions (3D) between, then layer norm over the case.

    Args:
        in_channels: label channels; the published network reads the raw id as one, ours a one-hot of K.
        grid: shape of the latent grid. The layer norm has a scale and a shift for each of its positions, so
            that the network takes labels of one size only.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        latent_channels: int,
        stages: StagesSettings,
        grid: Sequence[int],
    ) -> None:
        super().__init__()
        flat = spatial_dims == 2
        self.in_channels = in_channels
        self.blocks, self.downsample = nn.ModuleList(), nn.ModuleList()
        h = in_channels
        for level, (width, stride) in enumerate(zip(stages.widths, stages.strides, strict=True)):
            if level > 0:
                self.downsample.append(pooling(2, stride) if flat else convolution(3, h, h, 3, stride))
            self.blocks.append(PostActivationBlock(spatial_dims, h, width, stages.dropout))
            h = width
        self.head = convolution(spatial_dims, h, latent_channels, 1 if flat else 2)
        # flat: a change of memory format takes parameters of four and five axes for kernels
        self.norm = nn.LayerNorm(latent_channels * prod(grid), eps=EPSILON)

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> PaperLabelEncoder:
        """Return the label encoder of a model. Raises ValueError for settings that it does not have."""
        stages = settings.label_encoder
        refuse_options("model.label_encoder", stages.options)
        refuse_other_stages("model.label_encoder", stages, ("blocks", "attention", "stem_kernel_size"))
        if settings.linear_shortcut or settings.patch is None:
            raise ValueError(
                f"model.linear_shortcut is {settings.linear_shortcut} and model.patch {settings.patch}; "
                "label encoder paper has no shortcut and takes labels of one size, give that size"
            )
        grid = [n // f for n, f in zip(settings.patch, stages.factor, strict=True)]
        return cls(settings.spatial_dims, settings.classes, settings.latent_channels, stages, grid)

    def forward(self, y: Tensor) -> Tensor:
        return self.encode(one_hot(y, self.in_channels))

    def encode(self, label: Tensor) -> Tensor:
        """Return z0 of label channels (B, in_channels, *S)."""
        h = self.blocks[0](label)
        for down, block in zip(self.downsample, list(self.blocks)[1:], strict=True):
            h = block(down(h))
        z = self.head(h).float()
        return self.norm(z.flatten(1)).view(z.shape)
