"""A transformer denoises the latent: blocks of DiT on the latent grid (Peebles & Xie 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldseg.diffusion.schedule import NoiseLevel
from ldseg.networks.blocks import convolution, time_embedding, zero_init
from ldseg.networks.denoisers.base import Denoiser
from ldseg.settings import ModelSettings
from ldseg.utils.serialization import from_json


class Block(nn.Module):
    """Self-attention and an MLP, each scaled, shifted and gated by the time (adaLN-Zero)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.modulate = zero_init(nn.Linear(width, 6 * width))

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulate(time)[:, None].chunk(6, -1)
        normed = functional.layer_norm(h, h.shape[-1:]) * (1 + scale1) + shift1
        parts = self.qkv(normed).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        h = h + gate1 * self.project(mixed)
        normed = functional.layer_norm(h, h.shape[-1:]) * (1 + scale2) + shift2
        return h + gate2 * self.mlp(normed)


@dataclass(frozen=True)
class Options:
    """Settings of this denoiser, `model.denoiser.options`."""

    width: int = 64
    depth: int = 4
    heads: int = 4


class DiT(Denoiser):
    """A transformer in which each cell of the latent grid is a token."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        options = from_json(Options, settings.denoiser.options, "model.denoiser.options")
        dims, width = settings.spatial_dims, options.width
        self.factor, self.time_features = (1,) * dims, settings.denoiser.time_features
        inputs = settings.latent_channels + settings.image_encoder.embedding_channels
        self.stem = convolution(dims, inputs, width)  # of width 3, which also tells tokens their neighbours
        self.time = nn.Sequential(nn.Linear(self.time_features, width), nn.SiLU())
        self.blocks = nn.ModuleList(Block(options.width, options.heads) for _ in range(options.depth))
        self.head = zero_init(nn.Linear(width, settings.latent_channels))

    def embed(self, t: Tensor) -> Tensor:
        return self.time(time_embedding(t, self.time_features))

    def forward(self, z: Tensor, prepared: Tensor, level: NoiseLevel, time: Tensor) -> Tensor:
        del level
        h = self.stem(torch.cat([z.to(prepared.dtype), prepared.expand(z.shape[0], *prepared.shape[1:])], 1))
        tokens = h.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, time)
        return self.head(tokens).transpose(1, 2).reshape(z.shape).float()
