"""An image encoder of MONAI conditions the latent diffusion: the way down of SegResNet."""

from __future__ import annotations

from itertools import accumulate

from monai.networks.nets.segresnet_ds import SegResEncoder
from torch import Tensor

from ldseg.networks.blocks import convolution
from ldseg.networks.image_encoders.base import Conditioning, ImageEncoder
from ldseg.settings import ModelSettings


class SegResNetEncoder(ImageEncoder):
    """SegResNet's encoder, each level of which halves the grid; the last is the latent grid."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        dims = settings.spatial_dims
        strides = [max(stride) for stride in settings.decoder.stages.strides]
        grids = list(accumulate(strides, lambda a, b: a * b))  # e.g. 2, 4: the decoder's stages
        if any(len(set(stride)) > 1 for stride in settings.decoder.stages.strides):
            raise ValueError("SegResNet needs the same stride along each axis; choose such a spacing")
        self.levels = [grid.bit_length() - 1 for grid in grids]
        width = int(settings.image_encoder.options.get("width") or 16)
        self.encoder = SegResEncoder(
            spatial_dims=dims,
            in_channels=settings.in_channels,
            init_filters=width,
            norm=("group", {"num_groups": 8}),
            blocks_down=(1,) * (self.levels[-1] + 1),
        )
        self.factor = (grids[-1],) * dims
        self.feature_channels = tuple(width * 2**level for level in self.levels)
        self.embed = convolution(
            dims, self.feature_channels[-1], settings.image_encoder.embedding_channels, kernel_size=1
        )

    def forward(self, x: Tensor) -> Conditioning:
        maps = self.encoder(x)
        features = tuple(maps[level] for level in self.levels)
        return Conditioning(self.embed(features[-1]), features)
