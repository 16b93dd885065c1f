"""Denoisers by name. A new one: a file here, a line below."""

from __future__ import annotations

from ldseg.networks.denoisers.base import BuildDenoiser
from ldseg.networks.denoisers.paper import PaperDenoiser
from ldseg.networks.denoisers.preconditioned import PreconditionedDenoiser
from ldseg.utils.registry import Registry

DENOISERS: Registry[BuildDenoiser] = Registry(
    "model.denoiser.architecture",
    {
        "preconditioned": PreconditionedDenoiser.from_settings,
        "paper": PaperDenoiser.from_settings,
    },
)
