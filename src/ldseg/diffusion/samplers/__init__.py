"""Samplers: plain functions from starting noise to a clean latent. A new one: a file here, a line below."""

from __future__ import annotations

from functools import partial

from ldseg.diffusion.samplers.ddim import ddim
from ldseg.diffusion.samplers.ddpm import ddpm
from ldseg.diffusion.samplers.dpmpp_2m import dpmpp_2m
from ldseg.diffusion.samplers.dpmpp_2s import dpmpp_2s
from ldseg.diffusion.samplers.euler import euler
from ldseg.diffusion.samplers.one_step import one_step
from ldseg.diffusion.samplers.preconditioned_ddim import preconditioned_ddim
from ldseg.diffusion.samplers.types import Sampler
from ldseg.utils.registry import Registry

SAMPLERS: Registry[Sampler] = Registry(
    "sampler",
    {
        "ddim": ddim,
        "ddim_stochastic": partial(ddim, eta=1.0),
        "ddpm": ddpm,
        "dpmpp_2m": dpmpp_2m,
        "dpmpp_2s": dpmpp_2s,
        "euler": euler,
        "preconditioned_ddim": preconditioned_ddim,
        "one_step": one_step,
    },
)


_RENAMED = {"gaussian": "preconditioned_ddim"}
"""Names that stored settings may have, and today's."""


def find_sampler(name: str) -> Sampler:
    """Return the sampler of this name.

    Raises:
        ValueError: there is none.
    """
    if name in _RENAMED:
        now = _RENAMED[name]
        raise ValueError(
            f"sampler is {name!r}, now called {now!r}; write so, in the model's settings.json too"
        )
    return SAMPLERS.find(name)
