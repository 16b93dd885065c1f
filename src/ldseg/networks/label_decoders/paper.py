"""The published label decoder: 270,566 parameters in 2D for two classes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ldseg.networks.label_decoders.base import LabelDecoder
from ldseg.networks.paper_blocks import (
    PostActivationBlock,
    TransposedConvolution,
    UpsampledConvolution,
    batch_norm,
    convolution,
    refuse_other_stages,
)
from ldseg.settings import ModelSettings, StagesSettings, refuse_options


class PaperLabelDecoder(LabelDecoder):
    """A way up and a residual block for each stage, the last stage first; it takes no image features."""

    def __init__(
        self, spatial_dims: int, out_channels: int, latent_channels: int, stages: StagesSettings
    ) -> None:
        super().__init__()
        self.upsample, self.blocks = nn.ModuleList(), nn.ModuleList()
        h = latent_channels
        for width, stride in zip(reversed(stages.widths), reversed(stages.strides), strict=True):
            self.upsample.append(
                TransposedConvolution(h, width, stride)
                if spatial_dims == 2
                else UpsampledConvolution(3, h, width, stride)
            )
            self.blocks.append(PostActivationBlock(spatial_dims, width, width, stages.dropout))
            h = width
        self.head = convolution(spatial_dims, h, out_channels, 1)
        self.norm = batch_norm(spatial_dims, out_channels)

    @classmethod
    def from_settings(cls, settings: ModelSettings, feature_channels: tuple[int, ...]) -> PaperLabelDecoder:
        """Return the label decoder of a model. Raises ValueError for settings that it does not have."""
        del feature_channels
        decoder = settings.decoder
        refuse_options("model.decoder", decoder.options)
        refuse_other_stages(
            "model.decoder.stages", decoder.stages, ("blocks", "attention", "stem_kernel_size")
        )
        if decoder.image_features or decoder.logit_scale or settings.linear_shortcut:
            raise ValueError(
                "model.decoder.image_features, model.decoder.logit_scale or model.linear_shortcut is on; "
                "label decoder paper has none of them, turn them off"
            )
        return cls(settings.spatial_dims, settings.classes, settings.latent_channels, decoder.stages)

    def forward(
        self, z: Tensor, features: tuple[Tensor, ...] | None = None, keep: Tensor | None = None
    ) -> Tensor:
        del features, keep
        h = z
        for up, block in zip(self.upsample, self.blocks, strict=True):
            h = block(up(h))
        return self.norm(self.head(functional.silu(h))).float()
