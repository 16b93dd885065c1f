"""Image encoders by name. A new one: a file here, a line below."""

from __future__ import annotations

from ldseg.networks.image_encoders.base import BuildImageEncoder
from ldseg.networks.image_encoders.paper import PaperImageEncoder
from ldseg.networks.image_encoders.unet import UNetEncoder
from ldseg.utils.registry import Registry

IMAGE_ENCODERS: Registry[BuildImageEncoder] = Registry(
    "model.image_encoder.architecture",
    {"unet": UNetEncoder.from_settings, "paper": PaperImageEncoder.from_settings},
)
