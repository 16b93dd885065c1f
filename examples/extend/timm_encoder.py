"""A pretrained 2D encoder of timm conditions the latent diffusion; its weights come from a local file."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import timm
from safetensors.torch import load_file
from torch import Tensor

from ldseg.errors import file_error
from ldseg.networks.blocks import convolution
from ldseg.networks.image_encoders.base import Conditioning, ImageEncoder
from ldseg.settings import ModelSettings


class TimmEncoder(ImageEncoder):
    """Options: `name`, a model of timm, and `weights`, its weights as a safetensors file, if any."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        options = settings.image_encoder.options
        self.weights = options.get("weights")
        self.encoder = timm.create_model(
            str(options.get("name") or "resnet18"), features_only=True, in_chans=settings.in_channels
        )
        reductions = list(self.encoder.feature_info.reduction())  # e.g. 2, 4, 8, 16, 32
        strides = [max(stride) for stride in settings.decoder.stages.strides]
        grids = list(accumulate(strides, lambda a, b: a * b))  # e.g. 2, 4: the decoder's stages
        self.levels = [reductions.index(grid) for grid in grids]
        channels = self.encoder.feature_info.channels()
        self.factor = (reductions[-1],) * 2
        self.feature_channels = tuple(channels[level] for level in self.levels)
        self.embed = convolution(
            2, self.feature_channels[-1], settings.image_encoder.embedding_channels, kernel_size=1
        )

    def load_pretrained(self) -> None:
        if self.weights is None:
            return
        path = Path(str(self.weights))
        if not path.is_file():
            raise file_error(path, "there is no such file", "save timm's weights there")
        found = load_file(path)
        wanted = self.encoder.state_dict()
        self.encoder.load_state_dict({name: found[name] for name in wanted if name in found}, strict=False)

    def forward(self, x: Tensor) -> Conditioning:
        maps = self.encoder(x)
        features = tuple(maps[level] for level in self.levels)
        return Conditioning(self.embed(features[-1]), features)
