"""Ancestral sampling (Ho et al. 2020, eq. 6 and 7), for any spacing of the times.

From level a to the cleaner level b, with the ratio r of their signals: z_a = r z_b + noise of power
n_a^2 - r^2 n_b^2 (Kingma et al. 2021, appendix A, for any path).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, ignore
from ldseg.diffusion.schedule import NoiseLevel
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
            a, b = now.level, following.level
            ratio = a.signal / b.signal
            added = a.noise_power - ratio.square() * b.noise_power
            mean = (b.signal * added * z0 + ratio * b.noise_power * z) / a.noise_power
            z = mean + posterior_power(a, b).clamp_min(0).sqrt() * draw()
        on_step(following.time, z, z0)
    return z


def posterior_power(a: NoiseLevel, b: NoiseLevel) -> Tensor:
    """Return the variance of q(z_b | z_a, z0)."""
    return b.noise_power / a.noise_power * (a.noise_power - a.signal_power / b.signal_power * b.noise_power)
