"""Layers of the published networks (Zaman et al. 2026), with the conventions of TensorFlow.

"Same" padding is asymmetric where kernel size minus stride is odd: a convolution of kernel size 3 and stride
2 pads no voxel before and one behind. Batch norm keeps 0.99 of its moving statistics at each step (a momentum
of 0.01 as PyTorch counts); all norms add 1e-3 to the variance. Shapes: h is (B, C, *S); each axis of S is a
multiple of the stride.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ldseg.networks import blocks
from ldseg.networks.normalization import GroupNorm
from ldseg.settings import StagesSettings

EPSILON = 1e-3
"""Added to the variance by each norm."""
GROUPS = 4
"""Groups of a group norm outside of the image encoder's attention."""
_MOMENTUM = 0.01
_CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_BATCH_NORMS: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

Stride = tuple[int, ...]


def convolution(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    stride: Stride | None = None,
    groups: int = 1,
) -> nn.Module:
    """Return a convolution with "same" padding and Glorot-uniform weights, which divides the grid by
    `stride`."""
    stride = stride or (1,) * spatial_dims
    if kernel_size == 1:
        return glorot_uniform(blocks.convolution(spatial_dims, in_channels, out_channels, 1))
    pads = [_same_padding(kernel_size, step) for step in stride]
    if all(before == after for before, after in pads):
        padding = tuple(before for before, _ in pads)
        kind = _CONVOLUTIONS[spatial_dims]
        return glorot_uniform(kind(in_channels, out_channels, kernel_size, stride, padding, groups=groups))  # pyright: ignore[reportArgumentType]
    flat = [size for pair in reversed(pads) for size in pair]  # the last axis first
    pad = nn.ZeroPad2d(flat) if spatial_dims == 2 else nn.ZeroPad3d(flat)  # pyright: ignore[reportArgumentType]
    plain = _CONVOLUTIONS[spatial_dims](in_channels, out_channels, kernel_size, stride, groups=groups)  # pyright: ignore[reportArgumentType]
    return nn.Sequential(pad, glorot_uniform(plain))


class TransposedConvolution(nn.Module):
    """A transposed convolution of kernel size 3 in 2D, which multiplies the grid by `stride`.

    It is the transpose of the strided convolution with "same" padding: what that one pads is cut here.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Stride) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 3, stride)  # pyright: ignore[reportArgumentType]
        glorot_uniform(self.conv)

    def forward(self, h: Tensor) -> Tensor:
        grown = self.conv(h)
        for axis, step in enumerate(self.stride, start=2):
            grown = grown.narrow(axis, _same_padding(3, step)[0], h.shape[axis] * step)
        return grown


class UpsampledConvolution(nn.Module):
    """Nearest enlargement by `stride`, then a convolution of kernel size 3."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, stride: Stride) -> None:
        super().__init__()
        self.stride = stride
        self.conv = convolution(spatial_dims, in_channels, out_channels)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(blocks.upsample(h, self.stride))


def pooling(spatial_dims: int, stride: Stride) -> nn.Module:
    """Return max-pooling over blocks of `stride` voxels."""
    return nn.MaxPool2d(stride) if spatial_dims == 2 else nn.MaxPool3d(stride)  # type: ignore[arg-type]


def batch_norm(spatial_dims: int, channels: int) -> nn.Module:
    """Return batch norm with the published momentum and epsilon."""
    return _BATCH_NORMS[spatial_dims](channels, eps=EPSILON, momentum=_MOMENTUM)


def group_norm(channels: int, groups: int = GROUPS) -> nn.Module:
    """Return group norm with the published epsilon."""
    return GroupNorm(groups, channels, eps=EPSILON)


class PostActivationBlock(nn.Module):
    """The residual block of both label networks: two convolutions beside a shortcut, then swish."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = he_uniform(convolution(spatial_dims, in_channels, out_channels))
        self.norm1 = batch_norm(spatial_dims, out_channels)
        self.conv2 = he_uniform(convolution(spatial_dims, out_channels, out_channels))
        self.norm2 = batch_norm(spatial_dims, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = he_uniform(convolution(spatial_dims, in_channels, out_channels, 1))
        self.shortcut_norm = batch_norm(spatial_dims, out_channels)

    def forward(self, h: Tensor) -> Tensor:
        branch = functional.silu(self.norm1(self.conv1(h)))
        branch = self.dropout(self.norm2(self.conv2(branch)))
        return functional.silu(branch + self.shortcut_norm(self.shortcut(h)))


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions after group norm, added to its input; zero at first."""

    def __init__(self, channels: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = group_norm(channels, groups)
        self.query, self.key, self.value, self.proj = (
            glorot_uniform(nn.Linear(channels, channels)) for _ in range(4)
        )
        blocks.zero_init(self.proj)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.attend(self.norm(h))

    def attend(self, h: Tensor) -> Tensor:
        """Return the attention's output (B, C, *S) for normalized features (B, C, *S)."""
        tokens = h.flatten(2).transpose(1, 2)
        query, key, value = (
            rearrange(layer(tokens), "b n (heads c) -> b heads n c", heads=self.heads)
            for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        mixed = self.proj(rearrange(mixed, "b heads n c -> b n (heads c)"))
        return mixed.transpose(1, 2).reshape(h.shape)


class NormalizedSelfAttention(SelfAttention):
    """Self-attention of the denoiser, added to the normalized input instead of the input."""

    def forward(self, h: Tensor) -> Tensor:
        normalized = self.norm(h)
        return normalized + self.attend(normalized)


def glorot_uniform(layer: nn.Module) -> nn.Module:
    """Initialize a layer's weight Glorot-uniformly and its bias with zero."""
    for parameter in layer.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
    return layer


def he_uniform(layer: nn.Module) -> nn.Module:
    """Initialize a layer's weight He-uniformly (He et al. 2015); the bias stays."""
    for parameter in layer.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_uniform_(parameter, nonlinearity="relu")
    return layer


def time_embedding(t: Tensor, features: int, timesteps: int = 1000) -> Tensor:
    """Return sinusoids of t in [0, 1], (B,) to (B, features), with frequencies 10000^(-k / (features/2 - 1))
    of t * timesteps."""
    half = features // 2
    exponents = torch.arange(half, device=t.device, dtype=torch.float32) / (half - 1)
    angles = timesteps * t.float()[:, None] * torch.pow(10000.0, -exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def refuse_other_stages(section: str, stages: StagesSettings, fixed: Sequence[str]) -> None:
    """Raise ValueError if a setting among `fixed`, which a published network does not have, is changed."""
    standard = StagesSettings(stages.widths, stages.strides)
    for name in fixed:
        if getattr(stages, name) != getattr(standard, name):
            raise ValueError(
                f"{section}.{name} is {getattr(stages, name)}; architecture paper has none, "
                f"leave it at {getattr(standard, name)}"
            )


def _same_padding(kernel_size: int, stride: int) -> tuple[int, int]:
    """Return the voxels that "same" padding adds before and behind an axis of a multiple of `stride`."""
    total = max(kernel_size - stride, 0)
    return total // 2, total - total // 2
