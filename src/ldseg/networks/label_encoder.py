"""Label map to clean latent z0 (Zaman et al. 2026, the label encoder).

The latent is normalised at each position over its channels by default, never over the case: a case with an
empty mask must stay different from one that is full.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldseg.networks.backbone import EncoderBackbone
from ldseg.networks.blocks import convolution, normalization, space_to_depth
from ldseg.settings import StagesSettings


def one_hot(y: Tensor, classes: int) -> Tensor:
    """(B, *S) class indices to (B, K, *S) float; a negative index (ignored voxel) is all zero."""
    indices = torch.arange(classes, device=y.device).reshape(1, classes, *([1] * (y.ndim - 1)))
    return (y[:, None] == indices).float()


def channel_rms_norm(z: Tensor) -> Tensor:
    """Mean square 1 over the channels at each position."""
    return z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-6)


def layer_norm(z: Tensor) -> Tensor:
    """Zero mean and unit variance over each case (the paper's normalization)."""
    axes = tuple(range(1, z.ndim))
    centred = z - z.mean(axes, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + 1e-6)


LATENT_NORMS = {"channel_rms": channel_rms_norm, "layer": layer_norm}


class LabelEncoder(nn.Module):
    """y (B, *S) with indices 0..K-1, negative where ignored, to z0 (B, C, *S / f)."""

    def __init__(
        self,
        spatial_dims: int,
        classes: int,
        latent_channels: int,
        latent_norm: str,
        settings: StagesSettings,
        linear_shortcut: bool = False,
    ) -> None:
        super().__init__()
        width = settings.widths[-1]
        self.classes = classes
        self.latent_norm = LATENT_NORMS[latent_norm]
        self.backbone = EncoderBackbone(spatial_dims, classes, settings)
        self.norm = normalization(spatial_dims, width, settings.norm)
        self.head = convolution(spatial_dims, width, latent_channels, 1)
        self.factor = settings.factor
        cell = classes * prod(self.factor)
        self.shortcut = convolution(spatial_dims, cell, latent_channels, 1) if linear_shortcut else None

    def forward(self, y: Tensor) -> Tensor:
        label = one_hot(y, self.classes)
        h = self.backbone(label)[-1]
        z = self.head(functional.silu(self.norm(h)))
        if self.shortcut is not None:
            z = z + self.shortcut(space_to_depth(label, self.factor))
        return self.latent_norm(z.float())
