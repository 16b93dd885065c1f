"""The published denoiser, a U-Net of DDPM (Ho et al. 2020, appendix B): 1,013,873 parameters in 2D and
2,209,937 in 3D for one latent channel and one of the embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldseg.diffusion.schedule import NoiseLevel
from ldseg.networks.blocks import zero_init
from ldseg.networks.denoisers.base import Denoiser
from ldseg.networks.paper_blocks import (
    GROUPS,
    NormalizedSelfAttention,
    UpsampledConvolution,
    convolution,
    glorot_uniform,
    group_norm,
    refuse_other_stages,
    time_embedding,
)
from ldseg.settings import DenoiserSettings, ModelSettings, refuse_options


class _TimedBlock(nn.Module):
    """A residual block that adds a map of the time between its convolutions, and the attention behind it."""

    def __init__(self, spatial_dims: int, in_channels: int, width: int, time: int, attends: bool) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = convolution(spatial_dims, in_channels, width)
        self.time_proj = glorot_uniform(nn.Linear(time, width))
        self.norm2 = group_norm(width)
        self.conv2 = zero_init(convolution(spatial_dims, width, width))
        self.shortcut = (
            convolution(spatial_dims, in_channels, width, 1) if in_channels != width else nn.Identity()
        )
        self.attention = NormalizedSelfAttention(width, heads=1, groups=GROUPS) if attends else nn.Identity()

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        branch = self.conv1(functional.silu(self.norm1(h)))
        added = self.time_proj(time)
        branch = branch + added.reshape(*added.shape, *([1] * (h.ndim - 2)))
        branch = self.conv2(functional.silu(self.norm2(branch)))
        return self.attention(branch + self.shortcut(h))


class PaperDenoiser(Denoiser):
    """A U-Net of residual blocks whose way up joins the skips of the way down.

    In 2D there are skips of the first convolution, of all blocks and of both ways down; in 3D of the blocks
    only. The prediction is in the parameterization of the settings, the noise as published.
    """

    def __init__(
        self, spatial_dims: int, latent_channels: int, embedding_channels: int, settings: DenoiserSettings
    ) -> None:
        super().__init__()
        d, time, stages = spatial_dims, settings.time_features, settings.stages
        widths, strides = stages.widths, stages.strides[1:]
        self.factor, self.time_features = stages.factor, time
        self.all_skips = d == 2
        self.time1, self.time2 = (glorot_uniform(nn.Linear(time, time)) for _ in range(2))
        self.stem = convolution(d, latent_channels + embedding_channels, widths[0])
        self.down_stages, self.downsample = nn.ModuleList(), nn.ModuleList()
        self.up_stages, self.upsample = nn.ModuleList(), nn.ModuleList()
        h, skips = widths[0], [widths[0]] if self.all_skips else []
        for level, width in enumerate(widths):
            stage = nn.ModuleList()
            for _ in range(stages.blocks):
                stage.append(_TimedBlock(d, h, width, time, level in stages.attention))
                h = width
            self.down_stages.append(stage)
            skips += [width] * stages.blocks
            if level + 1 < len(widths):
                self.downsample.append(convolution(d, width, width, 3, strides[level]))
                skips += [width] if self.all_skips else []
        self.middle1 = _TimedBlock(d, h, h, time, attends=True)
        self.middle2 = _TimedBlock(d, h, h, time, attends=False)
        for level, width in reversed(list(enumerate(widths))):
            stage = nn.ModuleList()
            for _ in range(stages.blocks + (1 if self.all_skips else 0)):
                stage.append(_TimedBlock(d, h + skips.pop(), width, time, level in stages.attention))
                h = width
            self.up_stages.append(stage)
            if level > 0:
                self.upsample.append(UpsampledConvolution(d, width, width, strides[level - 1]))
        self.norm = group_norm(h)
        self.head = convolution(d, h, latent_channels)

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> PaperDenoiser:
        """Return the denoiser of a model. Raises ValueError for settings that it does not have."""
        denoiser = settings.denoiser
        refuse_options("model.denoiser", denoiser.options)
        refuse_other_stages("model.denoiser.stages", denoiser.stages, ("dropout", "stem_kernel_size"))
        if set(denoiser.stages.strides[0]) != {1}:
            raise ValueError(
                f"model.denoiser.stages.strides begins with {denoiser.stages.strides[0]}; denoiser paper "
                "begins with a stride of 1"
            )
        embedding = settings.image_encoder.embedding_channels
        return cls(settings.spatial_dims, settings.latent_channels, embedding, denoiser)

    def embed(self, t: Tensor) -> Tensor:
        hidden = functional.silu(self.time1(time_embedding(t, self.time_features)))
        return functional.silu(self.time2(hidden))

    def forward(self, z: Tensor, prepared: Tensor, level: NoiseLevel, time: Tensor) -> Tensor:
        del level
        embedding = prepared.expand(z.shape[0], *prepared.shape[1:])  # one image may serve all samples
        h = self.stem(torch.cat([z.to(embedding.dtype), embedding], 1))
        skips = [h] if self.all_skips else []
        for index, stage in enumerate(self.down_stages):
            for block in stage:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(h, time)
                skips.append(h)
            if index < len(self.downsample):
                h = self.downsample[index](h)
                skips += [h] if self.all_skips else []
        h = self.middle2(self.middle1(h, time), time)
        for index, stage in enumerate(self.up_stages):
            for block in stage:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(torch.cat([h, skips.pop()], 1), time)
            if index < len(self.upsample):
                h = self.upsample[index](h)
        return self.head(functional.silu(self.norm(h))).float()
