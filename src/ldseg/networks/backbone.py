"""The way down: a stack of levels that every encoder is made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from ldseg.networks.blocks import ResidualBlock, SelfAttention, convolution, space_to_depth
from ldseg.settings import StagesSettings


class Stage(nn.Module):
    """Residual blocks at one resolution, with self-attention at the end if asked for."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        settings: StagesSettings,
        level: int,
        time_channels: int = 0,
    ) -> None:
        super().__init__()
        width = settings.widths[level]
        widths = [in_channels] + [width] * settings.blocks
        self.blocks = nn.ModuleList(
            ResidualBlock(spatial_dims, before, after, settings.dropout, time_channels)
            for before, after in pairwise(widths)
        )
        attends = level in settings.attention
        self.attention = SelfAttention(width) if attends else nn.Identity()

    def time_biases(self, time: Tensor) -> list[Tensor]:
        """Return `ResidualBlock.time_bias` of each block."""
        return [block.time_bias(time) for block in self.blocks]  # pyright: ignore[reportCallIssue]

    def forward(self, h: Tensor, time_biases: Sequence[Tensor | None] | None = None) -> Tensor:
        for block, time_bias in zip(self.blocks, time_biases or [None] * len(self.blocks), strict=True):
            h = block(h, time_bias)
        return self.attention(h)


class EncoderBackbone(nn.Module):
    """x (B, M, *S) to the features of each level, finest first: (B, width, *S / factor)."""

    def __init__(self, spatial_dims: int, in_channels: int, settings: StagesSettings) -> None:
        super().__init__()
        self.stem_stride = settings.strides[0]
        self.stem = convolution(
            spatial_dims, in_channels * prod(self.stem_stride), settings.widths[0], settings.stem_kernel_size
        )
        widths = settings.widths
        self.stages = nn.ModuleList(
            Stage(spatial_dims, width, settings, level) for level, width in enumerate(widths)
        )
        self.downsample = nn.ModuleList(
            convolution(spatial_dims, before, after, 3, stride)
            for (before, after), stride in zip(pairwise(widths), settings.strides[1:], strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.encode_cells(space_to_depth(x, self.stem_stride))

    def encode_cells(self, cells: Tensor) -> list[Tensor]:
        """Return the features of x from `space_to_depth(x, stem_stride)`."""
        h = self.stages[0](self.stem(cells))
        features = [h]
        for down, level in zip(self.downsample, list(self.stages)[1:], strict=True):
            h = level(down(h))
            features.append(h)
        return features
