"""Euler's method along the path from noise to the clean latent, as for flow matching (Liu et al. 2023).

dz = z0 ds + e dn, with the clean estimate z0 and the noise e that it implies, held over a step. On a straight
path both s and n are linear in t, and a step is dt times the velocity e - z0.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from ldseg.diffusion.parameterization import implied_noise
from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, ignore
from ldseg.diffusion.timesteps import Timesteps


def euler(
    denoise: Denoise,
    z: Tensor,
    timesteps: Timesteps,
    draw: DrawNoise,  # noqa: ARG001  (deterministic; one signature for all samplers)
    on_step: OnStep = ignore,
) -> Tensor:
    """Return the clean latent. It is that of DDIM without fresh noise, on any path, but for rounding."""
    for now, following in pairwise(timesteps):
        z0 = denoise(z, now)
        if following.time == 0:
            z = z0
        else:
            a, b = now.level, following.level
            z = z + (b.signal - a.signal) * z0 + (b.noise - a.noise) * implied_noise(z, z0, a)
        on_step(following.time, z, z0)
    return z
