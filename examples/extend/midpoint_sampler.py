"""A sampler: the midpoint method, second order, which calls the denoiser between the times of the grid."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from ldseg.diffusion.parameterization import implied_noise
from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, ignore
from ldseg.diffusion.schedule import NoiseLevel
from ldseg.diffusion.timesteps import Timesteps


def midpoint(
    denoise: Denoise,
    z: Tensor,
    timesteps: Timesteps,
    draw: DrawNoise,
    on_step: OnStep = ignore,
) -> Tensor:
    """Follow dz = z0 ds + e dn by the z0 and e halfway; the last step, to t = 0, takes the clean estimate."""
    del draw  # deterministic
    for now, following in pairwise(timesteps):
        z0 = denoise(z, now)
        if following.time == 0:
            z = z0
        else:
            half = timesteps.at((now.time + following.time) / 2)
            there = _moved(z, z0, implied_noise(z, z0, now.level), now.level, half.level)
            z0 = denoise(there, half)
            z = _moved(z, z0, implied_noise(there, z0, half.level), now.level, following.level)
        on_step(following.time, z, z0)
    return z


def _moved(z: Tensor, z0: Tensor, noise: Tensor, a: NoiseLevel, b: NoiseLevel) -> Tensor:
    """Return z at level b from z at level a."""
    return z + (b.signal - a.signal) * z0 + (b.noise - a.noise) * noise
