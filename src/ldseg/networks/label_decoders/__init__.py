"""Label decoders by name. A new one: a file here, a line below."""

from __future__ import annotations

from ldseg.networks.label_decoders.base import BuildLabelDecoder
from ldseg.networks.label_decoders.paper import PaperLabelDecoder
from ldseg.networks.label_decoders.resnet import ResNetLabelDecoder
from ldseg.utils.registry import Registry

LABEL_DECODERS: Registry[BuildLabelDecoder] = Registry(
    "model.decoder.architecture",
    {"resnet": ResNetLabelDecoder.from_settings, "paper": PaperLabelDecoder.from_settings},
)
