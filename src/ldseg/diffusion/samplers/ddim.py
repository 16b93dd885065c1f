"""DDIM (Song et al. 2021, eq. 12), deterministic by default."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from ldseg.diffusion.parameterization import LEAST_NOISE
from ldseg.diffusion.samplers.ddpm import posterior_power
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
            a, b = now.level, following.level
            fresh = eta * posterior_power(a, b).clamp_min(0).sqrt()  # sigma of eq. 16
            kept = (b.noise_power - fresh**2).clamp_min(0).sqrt()
            share = kept / a.noise.clamp_min(LEAST_NOISE)  # z = signal * z0 + kept * the implied noise
            z = torch.addcmul(share * z, z0, b.signal - share * a.signal)
            if eta > 0:
                z = z + fresh * draw()
        on_step(following.time, z, z0)
    return z
