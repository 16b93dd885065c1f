"""DDIM (Song et al. 2021, eq. 12), deterministic by default."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from ldseg.diffusion.parameterization import LEAST_NOISE
from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, ignore
from ldseg.diffusion.timesteps import Timesteps


def ddim(
    denoise: Denoise,
    z: Tensor,
    timesteps: Timesteps,
    draw: DrawNoise,
    on_step: OnStep = ignore,
    eta: float = 0.0,
) -> Tensor:
    """Return the clean latent; `eta` is the fraction of fresh noise: 0 keeps the implied noise, 1 is
    ancestral."""
    for now, following in pairwise(timesteps):
        z0 = denoise(z, now)
        if following.time == 0:
            z = z0
        else:
            a, b = now.alpha_bar, following.alpha_bar
            fresh = eta * ((1 - b) / (1 - a) * (1 - a / b)).clamp_min(0).sqrt()  # sigma of eq. 16
            kept = (1 - b - fresh**2).clamp_min(0).sqrt()
            share = kept / (1 - a).sqrt().clamp_min(LEAST_NOISE)  # z = sqrt(b) z0 + kept * the implied noise
            z = torch.addcmul(share * z, z0, b.sqrt() - share * a.sqrt())
            if eta > 0:
                z = z + fresh * draw()
        on_step(following.time, z, z0)
    return z
