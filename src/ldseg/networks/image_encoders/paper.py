"""The published image encoder: 294,061 parameters in 2D for three channels, 138,851 in 3D for one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ldseg.networks.blocks import zero_init
from ldseg.networks.image_encoders.base import Conditioning, ImageEncoder
from ldseg.networks.paper_blocks import (
    GROUPS,
    SelfAttention,
    Stride,
    batch_norm,
    convolution,
    group_norm,
    pooling,
    refuse_other_stages,
)
from ldseg.settings import ImageEncoderSettings, ModelSettings, refuse_options

_HEADS, _ATTENTION_GROUPS = 8, 8


class _Stage(nn.Module):
    """A residual block, then its stride and group norm: (B, in_channels, *S) to (B, width, *S / stride).

    In 3D both convolutions have groups, and pooling takes the place of the strided convolution.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, width: int, stride: Stride, dropout: float
    ) -> None:
        super().__init__()
        flat = spatial_dims == 2
        groups = 1 if flat else GROUPS
        self.conv1 = convolution(spatial_dims, in_channels, width, groups=groups)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero_init(convolution(spatial_dims, width, width, groups=groups))
        self.shortcut = convolution(spatial_dims, in_channels, width, 1)
        self.downsample = convolution(2, width, width, 3, stride) if flat else pooling(3, stride)
        self.norm = group_norm(width)

    def forward(self, h: Tensor) -> Tensor:
        branch = self.dropout(self.conv1(functional.silu(h)))
        branch = self.conv2(functional.silu(branch))
        return self.norm(self.downsample(functional.silu(branch + self.shortcut(h))))


class PaperImageEncoder(ImageEncoder):
    """A convolution, stages whose blocks work before the stride, and a map to the embedding.

    `stages.widths` and `strides` are of the first convolution, whose stride is 1, and of each stage;
    `stages.attention` counts the convolution as 0.
    """

    def __init__(self, spatial_dims: int, in_channels: int, settings: ImageEncoderSettings) -> None:
        super().__init__()
        flat, stages, out_channels = spatial_dims == 2, settings.stages, settings.embedding_channels
        self.factor, self.feature_channels = stages.factor, stages.widths
        self.stem = convolution(spatial_dims, in_channels, stages.widths[0])
        self.stages, self.attention = nn.ModuleList(), nn.ModuleList()
        for level, stride in enumerate(stages.strides[1:], start=1):
            before, width = stages.widths[level - 1 : level + 1]
            self.stages.append(_Stage(spatial_dims, before, width, stride, stages.dropout))
            attends = level in stages.attention
            self.attention.append(
                SelfAttention(width, _HEADS, _ATTENTION_GROUPS) if attends else nn.Identity()
            )
        self.head = convolution(spatial_dims, stages.widths[-1], out_channels, 1 if flat else 3)
        self.last_attention = SelfAttention(out_channels, heads=1, groups=1) if flat else None
        if flat:
            zero_init(self.head)
        self.last_norm = batch_norm(spatial_dims, out_channels)

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> PaperImageEncoder:
        """Return the image encoder of a model. Raises ValueError for settings that it does not have."""
        image = settings.image_encoder
        refuse_options("model.image_encoder", image.options)
        refuse_other_stages("model.image_encoder.stages", image.stages, ("blocks", "stem_kernel_size"))
        if image.context_stages > 0 or set(image.stages.strides[0]) != {1}:
            raise ValueError(
                f"model.image_encoder.context_stages is {image.context_stages} and the first stride "
                f"{image.stages.strides[0]}; image encoder paper has no stages below the latent grid and "
                "begins with a stride of 1"
            )
        return cls(settings.spatial_dims, settings.in_channels, image)

    def forward(self, x: Tensor) -> Conditioning:
        h = self.stem(x)
        features = [h]
        for stage, attention in zip(self.stages, self.attention, strict=True):
            h = attention(stage(h))
            features.append(h)
        embedding = self.head(h)
        if self.last_attention is not None:
            embedding = functional.silu(self.last_attention(embedding))
        return Conditioning(self.last_norm(embedding), tuple(features))
