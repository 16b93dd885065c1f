"""DDIM (Song et al. 2021, eq. 12), deterministic by default."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from ldseg.diffusion.parameterisation import implied_noise
from ldseg.diffusion.samplers.steps import Denoise, DrawNoise, OnStep, ignore
from ldseg.diffusion.schedule import Schedule


def ddim(
    denoise: Denoise,
    z: Tensor,
    times: Tensor,
    signal: Schedule,
    draw: DrawNoise,
    on_step: OnStep = ignore,
    eta: float = 0.0,
) -> Tensor:
    """`eta` is the share of fresh noise: 0 keeps the implied noise, 1 is ancestral sampling."""
    for now, following in pairwise(times):
        z0 = denoise(z, now)
        if following == 0:
            z = z0
        else:
            a, b = signal(now), signal(following)
            fresh = eta * ((1 - b) / (1 - a) * (1 - a / b)).clamp_min(0).sqrt()  # sigma of eq. 16
            kept = (1 - b - fresh**2).clamp_min(0).sqrt()
            z = b.sqrt() * z0 + kept * implied_noise(z, z0, a)
            if eta > 0:
                z = z + fresh * draw()
        on_step(following, z, z0)
    return z
