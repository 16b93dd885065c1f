"""Label encoders by name. A new one: a file here, a line below."""

from __future__ import annotations

from ldseg.networks.label_encoders.base import BuildLabelEncoder
from ldseg.networks.label_encoders.paper import PaperLabelEncoder
from ldseg.networks.label_encoders.resnet import ResNetLabelEncoder
from ldseg.utils.registry import Registry

LABEL_ENCODERS: Registry[BuildLabelEncoder] = Registry(
    "model.label_encoder.architecture",
    {"resnet": ResNetLabelEncoder.from_settings, "paper": PaperLabelEncoder.from_settings},
)
