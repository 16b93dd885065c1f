"""DPM-Solver++(2M), second order multistep in the clean estimate (Lu et al. 2022b, algorithm 2)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, ignore
from ldseg.diffusion.schedule import NoiseLevel
from ldseg.diffusion.timesteps import Timesteps


def log_snr(level: NoiseLevel) -> Tensor:
    """Return lambda = log(signal / noise), half the logarithm of the signal-to-noise ratio."""
    return level.signal.log() - level.noise.log()


def solver_step(z: Tensor, estimate: Tensor, a: NoiseLevel, b: NoiseLevel) -> Tensor:
    """Return z at level b from z at level a if the clean estimate is `estimate` all the way (equation 9)."""
    width = log_snr(b) - log_snr(a)
    return b.noise / a.noise * z - b.signal * torch.expm1(-width) * estimate


def dpmpp_2m(
    denoise: Denoise,
    z: Tensor,
    timesteps: Timesteps,
    draw: DrawNoise,  # noqa: ARG001  (deterministic; one signature for all samplers)
    on_step: OnStep = ignore,
) -> Tensor:
    """Return the clean latent; the first step is first order, the last, to t = 0, takes the clean
    estimate."""
    previous: tuple[Tensor, Tensor] | None = None  # clean estimate and width of the step before
    for now, following in pairwise(timesteps):
        z0 = denoise(z, now)
        if following.time == 0:
            z = z0
        else:
            a, b = now.level, following.level
            width = log_snr(b) - log_snr(a)
            estimate = z0
            if previous is not None and previous[1] > 0 and width > 0:  # equal where the signal is clamped
                ratio = previous[1] / width
                estimate = (1 + 1 / (2 * ratio)) * z0 - 1 / (2 * ratio) * previous[0]
            z = solver_step(z, estimate, a, b)
            previous = (z0, width)
        on_step(following.time, z, z0)
    return z
