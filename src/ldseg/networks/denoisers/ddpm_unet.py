"""The denoiser as published: the U-Net of DDPM (Ho et al. 2020, appendix B) on the latent grid.

Each block of the way down passes a skip to one of the way up, which has one block more a level; two blocks
with self-attention between them stand in the middle.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldseg.diffusion.schedule import NoiseLevel
from ldseg.networks.blocks import (
    ResidualBlock,
    SelfAttention,
    convolution,
    normalization,
    time_embedding,
    upsample,
)
from ldseg.networks.denoisers.base import Denoiser
from ldseg.settings import DenoiserSettings, ModelSettings, refuse_options


class _Step(nn.Module):
    """A residual block, followed by self-attention on the levels that have it."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        settings: DenoiserSettings,
        attends: bool,
    ) -> None:
        super().__init__()
        stages = settings.stages
        time = settings.time_features
        self.block = ResidualBlock(spatial_dims, in_channels, out_channels, stages.norm, stages.dropout, time)
        self.attention = SelfAttention(out_channels, stages.norm, spatial_dims) if attends else nn.Identity()

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        return self.attention(self.block(h, self.block.time_bias(time)))


class DDPMUNet(Denoiser):
    """The embedding joins the latent as further channels; the time is added in each block."""

    def __init__(
        self, spatial_dims: int, latent_channels: int, embedding_channels: int, settings: DenoiserSettings
    ) -> None:
        super().__init__()
        stages = settings.stages
        widths, self.strides = stages.widths, stages.strides[1:]
        features = settings.time_features
        self.factor = stages.factor
        self.time_features = features
        self.time_mlp = nn.Sequential(
            nn.Linear(features, features), nn.SiLU(), nn.Linear(features, features), nn.SiLU()
        )
        self.stem = convolution(spatial_dims, latent_channels + embedding_channels, widths[0])
        self.downsample = nn.ModuleList(
            convolution(spatial_dims, before, before, 3, stride)
            for before, stride in zip(widths, self.strides, strict=False)
        )
        passed, h = [widths[0]], widths[0]
        self.down_stages, self.up_stages = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            attends = level in stages.attention
            stage_in_channels = [h] + [width] * (stages.blocks - 1)
            self.down_stages.append(
                nn.ModuleList(
                    _Step(spatial_dims, before, width, settings, attends) for before in stage_in_channels
                )
            )
            h = width
            passed += [width] * stages.blocks + ([width] if level + 1 < len(widths) else [])
        self.middle = nn.ModuleList(_Step(spatial_dims, h, h, settings, attends) for attends in (True, False))
        for level, width in reversed(list(enumerate(widths))):
            steps = nn.ModuleList()
            for _ in range(stages.blocks + 1):
                steps.append(
                    _Step(spatial_dims, h + passed.pop(), width, settings, level in stages.attention)
                )
                h = width
            self.up_stages.append(steps)
        self.up_convs = nn.ModuleList(
            convolution(spatial_dims, after, after) for _, after in pairwise(widths)
        )
        self.norm = normalization(spatial_dims, h, stages.norm)
        self.head = convolution(spatial_dims, h, latent_channels)

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> DDPMUNet:
        """Return the denoiser of a model."""
        refuse_options("model.denoiser", settings.denoiser.options)
        return cls(
            settings.spatial_dims,
            settings.latent_channels,
            settings.image_encoder.embedding_channels,
            settings.denoiser,
        )

    def embed(self, t: Tensor) -> Tensor:
        return self.time_mlp(time_embedding(t, self.time_features))

    def forward(self, z: Tensor, prepared: Tensor, level: NoiseLevel, time: Tensor) -> Tensor:
        del level
        h = self.stem(torch.cat([z.to(prepared.dtype), prepared.expand(z.shape[0], *prepared.shape[1:])], 1))
        passed = [h]
        for stage, steps in enumerate(self.down_stages):
            for step in steps:  # pyright: ignore[reportGeneralTypeIssues]
                h = step(h, time)
                passed.append(h)
            if stage < len(self.downsample):
                h = self.downsample[stage](h)
                passed.append(h)
        for step in self.middle:
            h = step(h, time)
        for stage, steps in zip(reversed(range(len(self.down_stages))), self.up_stages, strict=True):
            for step in steps:  # pyright: ignore[reportGeneralTypeIssues]
                h = step(torch.cat([h, passed.pop()], 1), time)
            if stage > 0:
                h = self.up_convs[stage - 1](upsample(h, self.strides[stage - 1]))
        return self.head(functional.silu(self.norm(h))).float()
