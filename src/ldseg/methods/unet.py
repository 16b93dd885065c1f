"""A deterministic U-Net: the image encoder and the label decoder of the model, with nothing between them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ldseg.methods.base import DEFAULT_LOSS, Losses, SinglePass
from ldseg.methods.losses import segmentation_loss
from ldseg.networks.image_encoders import IMAGE_ENCODERS
from ldseg.networks.image_encoders.base import Conditioning, ImageEncoder
from ldseg.networks.label_decoders import LABEL_DECODERS
from ldseg.networks.label_decoders.base import LabelDecoder
from ldseg.settings import LossSettings, ModelSettings


def build_unet(settings: ModelSettings, maps: int) -> tuple[ImageEncoder, LabelDecoder]:
    """Return the image encoder, and a decoder from its embedding and features to `maps` maps (B, maps,
    *S)."""
    image = settings.image_encoder
    encoder = IMAGE_ENCODERS.find(image.architecture)(settings)
    of_embedding = replace(
        settings,
        classes=maps,
        latent_channels=image.embedding_channels,
        decoder=replace(settings.decoder, logit_scale=False),  # nothing bounds the embedding
    )
    build_decoder = LABEL_DECODERS.find(settings.decoder.architecture)
    return encoder, build_decoder(of_embedding, encoder.feature_channels)


class UNet(SinglePass):
    """U-Net with the widths, stages and blocks of the latent diffusion model of the same settings."""

    stochastic = False
    latent_channels = 0

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.classes = settings.classes
        self.latent_factor = settings.label_encoder.factor
        self.image_encoder, self.decoder = build_unet(settings, settings.classes)
        self.image_factor = self.image_encoder.factor

    def loss(
        self,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator | None = None,
        settings: LossSettings = DEFAULT_LOSS,
    ) -> Losses:
        del generator
        conditioning = self.encode_image(x)
        total = segmentation_loss(self.decoder(conditioning.embedding, conditioning.features), y, settings)
        return Losses(total, {"segmentation": total.detach()})

    def encode_image(self, x: Tensor) -> Conditioning:
        return self.image_encoder(x)

    def decode(self, z: Tensor, conditioning: Conditioning) -> Tensor:
        del z
        return self.decoder(conditioning.embedding, conditioning.features)
