"""The interface of a label encoder, label maps as its input, and the norm of its latent.

The latent is normalised at each position over its channels by default, never over the case: a case with an
empty mask must stay different from one that is full.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ldseg.networks.blocks import space_to_depth
from ldseg.settings import ModelSettings


class LabelEncoder(nn.Module, ABC):
    """A network from y (B, *S) with indices 0..K-1, negative where ignored, to z0 (B, C, *S / f), float32, f
    the product of the strides in `model.label_encoder`."""

    @abstractmethod
    def forward(self, y: Tensor) -> Tensor:
        """Return the clean latent z0, normalised."""


BuildLabelEncoder = Callable[[ModelSettings], LabelEncoder]
"""What a name in `model.label_encoder.architecture` stands for."""


def one_hot(y: Tensor, classes: int) -> Tensor:
    """(B, *S) class indices to (B, K, *S) float; a negative index (ignored voxel) is all zero."""
    indices = torch.arange(classes, device=y.device).reshape(1, classes, *([1] * (y.ndim - 1)))
    return (y[:, None] == indices).float()


def one_hot_cells(y: Tensor, classes: int, stride: tuple[int, ...]) -> Tensor:
    """Return `space_to_depth(one_hot(y, classes), stride)`, (B, K * prod(stride), *S / stride) float.

    The label is folded while it is one map, not K."""
    folded = space_to_depth(y[:, None].to(torch.int16), stride)
    return torch.cat([folded == index for index in range(classes)], 1).float()


def channel_rms_norm(z: Tensor) -> Tensor:
    """Mean square 1 over the channels at each position."""
    return z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-6)
