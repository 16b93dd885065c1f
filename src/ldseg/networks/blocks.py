"""Building blocks of all modules, for `spatial_dims` 2 or 3.

Shapes: h is (B, C, *S). Nothing here creates a tensor on a device of its own choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ldseg.networks.normalization import GroupNorm


def _at_each_place(convolution: nn.Conv2d | nn.Conv3d, h: Tensor) -> Tensor:
    """Return a convolution of kernel size 1 as the matrix product that it is.

    PyTorch's own is up to ten times slower with one thread on the CPU, and returns the channels first in
    memory."""
    weight = convolution.weight.flatten(1)
    return functional.linear(h.movedim(1, -1), weight, convolution.bias).movedim(-1, 1)


class _Pointwise2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return _at_each_place(self, input)


class _Pointwise3d(nn.Conv3d):
    def forward(self, input: Tensor) -> Tensor:
        return _at_each_place(self, input)


_POINTWISE: dict[int, type[_Pointwise2d] | type[_Pointwise3d]] = {2: _Pointwise2d, 3: _Pointwise3d}
_CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}


def convolution(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    stride: tuple[int, ...] | int = 1,
) -> nn.Module:
    """Return a convolution that keeps the grid, or divides it by `stride`."""
    if kernel_size == 1 and stride == 1:
        return _POINTWISE[spatial_dims](in_channels, out_channels, 1)
    padding = kernel_size // 2
    return _CONVOLUTIONS[spatial_dims](in_channels, out_channels, kernel_size, stride, padding)  # pyright: ignore[reportArgumentType]


def normalization(channels: int) -> nn.Module:
    """Return group norm with at most eight groups of at least four channels."""
    groups = math.gcd(channels, min(8, max(1, channels // 4)))
    return GroupNorm(groups, channels)


def zero_init(module: nn.Module) -> nn.Module:
    """Start at zero, so that a residual branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class ResidualBlock(nn.Module):
    """Norm, swish, convolution, twice, beside a shortcut; what the time says may be added between."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        dropout: float,
        time_channels: int = 0,
    ) -> None:
        super().__init__()
        self.norm1 = normalization(in_channels)
        self.conv1 = convolution(spatial_dims, in_channels, out_channels)
        self.norm2 = normalization(out_channels)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = zero_init(convolution(spatial_dims, out_channels, out_channels))
        self.shortcut = (
            convolution(spatial_dims, in_channels, out_channels, 1)
            if in_channels != out_channels
            else nn.Identity()
        )
        self.time_proj = nn.Linear(time_channels, out_channels) if time_channels else None

    def time_bias(self, time: Tensor) -> Tensor:
        """Return the bias (B, out_channels) that the time embedding (B, T) adds at all positions."""
        if self.time_proj is None:
            raise ValueError("a block without time has no time bias")
        return self.time_proj(time)

    def forward(self, h: Tensor, time_bias: Tensor | None = None) -> Tensor:
        branch = self.conv1(functional.silu(self.norm1(h)))
        if time_bias is not None:
            branch = branch + time_bias.reshape(*time_bias.shape, *([1] * (h.ndim - 2)))
        branch = self.conv2(self.dropout(functional.silu(self.norm2(branch))))
        return self.shortcut(h) + branch


class OutputHead(nn.Module):
    """Norm, swish, pointwise convolution, zero at first: (B, in_channels, *S) to (B, out_channels, *S)."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = normalization(in_channels)
        self.head = zero_init(convolution(spatial_dims, in_channels, out_channels, 1))

    def forward(self, h: Tensor) -> Tensor:
        return self.head(functional.silu(self.norm(h)))


_COARSE: dict[int, tuple[int, Callable[..., Tensor], str]] = {
    2: (16, functional.avg_pool2d, "bilinear"),
    3: (8, functional.avg_pool3d, "trilinear"),
}
"""Most positions of attention along an axis of a large grid, how more are averaged, and how they are
interpolated."""
_LARGE = {2: 16**2, 3: 16**3}
"""A grid of more positions is large; the coarsest grids that are planned are not."""


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions of a grid, in as many equal heads of `head_channels` or
    more channels as there can be.

    A grid of more than 256 (2D) or 4096 (3D) is averaged to 16 (2D) or 8 (3D) along an axis at most, and what
    attention adds is interpolated: its cost is bounded, where that of all positions grows with their square.
    """

    def __init__(self, channels: int, head_channels: int = 32) -> None:
        super().__init__()
        most = max(1, channels // head_channels)
        self.heads = max(heads for heads in range(1, most + 1) if channels % heads == 0)
        self.norm = normalization(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = zero_init(nn.Linear(channels, channels))

    def forward(self, h: Tensor) -> Tensor:
        most, pool, mode = _COARSE[h.ndim - 2]
        if math.prod(h.shape[2:]) <= _LARGE[h.ndim - 2]:
            return h + self._attend(h)
        size = tuple(-(-n // most) for n in h.shape[2:])
        added = self._attend(pool(h, size, ceil_mode=True, count_include_pad=False)).float()
        scale = tuple(float(n) for n in size)  # the last cells may reach beyond the grid
        added = functional.interpolate(added, scale_factor=scale, mode=mode)
        return h + added[(..., *(slice(n) for n in h.shape[2:]))].to(h.dtype)

    def _attend(self, h: Tensor) -> Tensor:
        """Return what attention over all positions of h adds to it."""
        tokens = self.norm(h).flatten(2).transpose(1, 2)
        query, key, value = rearrange(
            self.qkv(tokens), "b n (three heads c) -> three b heads n c", three=3, heads=self.heads
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        mixed = self.proj(rearrange(mixed, "b heads n c -> b n (heads c)"))
        return mixed.transpose(1, 2).reshape(h.shape)


def time_embedding(t: Tensor, features: int) -> Tensor:
    """Sinusoids of t in [0, 1], (B,) to (B, features); frequencies as for 1000 steps (Ho et al. 2020)."""
    exponents = torch.arange(features // 2, device=t.device, dtype=torch.float32) / (features // 2)
    angles = 1000.0 * t.float()[:, None] * torch.exp(-math.log(10000.0) * exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


_FOLD = {
    2: "b c (y sy) (x sx) -> b y x (c sy sx)",
    3: "b c (z sz) (y sy) (x sx) -> b z y x (c sz sy sx)",
}
_UNFOLD = {
    2: "b (c sy sx) y x -> b c (y sy) (x sx)",
    3: "b (c sz sy sx) z y x -> b c (z sz) (y sy) (x sx)",
}


def _factors(stride: tuple[int, ...]) -> dict[str, int]:
    return dict(zip(("sz", "sy", "sx")[-len(stride) :], stride, strict=True))


def space_to_depth(h: Tensor, stride: tuple[int, ...]) -> Tensor:
    """(B, C, *S) to (B, C * prod(stride), *S / stride): the grid becomes coarser and nothing is lost.

    In memory the channels are last, as convolutions want them."""
    return rearrange(h, _FOLD[len(stride)], **_factors(stride)).movedim(-1, 1)


def depth_to_space(h: Tensor, stride: tuple[int, ...]) -> Tensor:
    """The inverse of `space_to_depth`, but for the memory: each channel by itself, as what works on logits is
    quickest."""
    return rearrange(h, _UNFOLD[len(stride)], **_factors(stride))


def upsample(h: Tensor, stride: tuple[int, ...]) -> Tensor:
    """Repeat each voxel `stride` times along each axis."""
    if all(s == 1 for s in stride):
        return h
    return functional.interpolate(h, scale_factor=[float(s) for s in stride], mode="nearest")
