"""DDIM with a step that is exact for a Gaussian, so that few steps give samples their spread. Our own method.

DDIM is exact where the image leaves nothing open; in few steps it loses most of what the image leaves open.
Here a step is exact for a latent N(m, v) (Karras et al. 2022 precondition the denoiser in the same way). m is
the clean estimate of the first call. v is one number for each sample and step, from how far the denoiser
follows z. With the levels s of signal and n of noise, u = z - s m and x = (clean estimate) - m, a Gaussian
has

    x = g u,    g = s v / sigma^2,    sigma^2 = s^2 v + n^2

so that g = <u, x> / <u, u> gives v, and the probability flow scales u by sigma' / sigma. What x has beyond
g u is added as in DDIM. One v for all positions is exact only where all are equally open: with many sure
positions and few open ones, a handful of steps spreads the sure ones too far, in absolute terms by little.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from ldseg.diffusion.parameterization import LEAST_NOISE
from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, ignore
from ldseg.diffusion.schedule import NoiseLevel, variance_preserving
from ldseg.diffusion.timesteps import Timesteps

_LEAST = 1e-6
"""Least variance, and least divisor."""


def preconditioned_ddim(
    denoise: Denoise,
    z: Tensor,
    timesteps: Timesteps,
    draw: DrawNoise,  # noqa: ARG001  (deterministic; one signature for all samplers)
    on_step: OnStep = ignore,
) -> Tensor:
    """Follow the probability flow; a single step gives the clean estimate, as with every sampler."""
    mean: Tensor | None = None
    for now, following in pairwise(timesteps):
        z0 = denoise(z, now)
        if mean is None and following.time == 0:
            z = z0
        else:
            a, one = now.level, torch.ones_like(now.level.signal)
            b = variance_preserving(one) if following.time == 0 else following.level
            if mean is None:  # at pure noise the estimate does not follow z, and says nothing of v
                mean, variance = z0, one
            else:
                variance = _variance(z - a.signal * mean, z0 - mean, a)
            z = _step(z, z0, mean, variance, a, b)
        on_step(following.time, z, z0)
    return z


def _variance(u: Tensor, x: Tensor, a: NoiseLevel) -> Tensor:
    """Return v of each case, (B, 1, 1, ...)."""
    axes = tuple(range(1, u.ndim))
    gain = (u * x).mean(axes, keepdim=True) / u.square().mean(axes, keepdim=True).clamp_min(_LEAST)
    left = (a.signal * (1 - gain * a.signal)).clamp_min(_LEAST)
    return (gain * a.noise_power / left).clamp(_LEAST, 1.0)


def _step(z: Tensor, z0: Tensor, mean: Tensor, variance: Tensor, a: NoiseLevel, b: NoiseLevel) -> Tensor:
    """Move z from level a to b: s' m + (sigma' / sigma) u + k (x - g u), with k as DDIM has it."""
    before, after = _variance_of_z(variance, a), _variance_of_z(variance, b)  # sigma^2
    share = (b.noise_power / a.noise_power.clamp_min(LEAST_NOISE**2)).sqrt()
    weight = b.signal - share * a.signal
    kept = (after / before).sqrt() - weight * a.signal * variance / before
    return torch.addcmul(kept * z + (b.signal - weight - kept * a.signal) * mean, weight, z0)


def _variance_of_z(variance: Tensor, level: NoiseLevel) -> Tensor:
    """Return s^2 v + n^2, summed in the order in which results were always rounded: s^2 v + 1 - s^2."""
    total = level.signal_power + level.noise_power  # exactly 1 on a variance-preserving path
    return level.signal_power * variance + total - level.signal_power
