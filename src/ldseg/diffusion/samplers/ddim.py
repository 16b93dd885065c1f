"""DDIM (Song et al. 2021, eq. 12), deterministic by default."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from ldseg.diffusion.parameterization import LEAST_NOISE
from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, Times, ignore
from ldseg.diffusion.schedule import Schedule


def ddim(
    denoise: Denoise,
    z: Tensor,
    times: Times,
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
            share = kept / (1 - a).sqrt().clamp_min(LEAST_NOISE)  # z = sqrt(b) z0 + kept * the implied noise
            z = torch.addcmul(share * z, z0, b.sqrt() - share * a.sqrt())
            if eta > 0:
                z = z + fresh * draw()
        on_step(following, z, z0)
    return z
