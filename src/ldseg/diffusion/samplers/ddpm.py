"""Ancestral sampling (Ho et al. 2020, eq. 6 and 7), for any spacing of the times."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, ignore
from ldseg.diffusion.timesteps import Timesteps


def ddpm(
    denoise: Denoise,
    z: Tensor,
    timesteps: Timesteps,
    draw: DrawNoise,
    on_step: OnStep = ignore,
) -> Tensor:
    """Return the clean latent, drawing each z from the posterior q(z_following | z_now, z0^)."""
    for now, following in pairwise(timesteps):
        z0 = denoise(z, now)
        if following.time == 0:
            z = z0
        else:
            a, b = now.alpha_bar, following.alpha_bar
            ratio = a / b  # alpha of this step
            mean = (b.sqrt() * (1 - ratio) * z0 + ratio.sqrt() * (1 - b) * z) / (1 - a)
            variance = (1 - b) / (1 - a) * (1 - ratio)
            z = mean + variance.clamp_min(0).sqrt() * draw()
        on_step(following.time, z, z0)
    return z
