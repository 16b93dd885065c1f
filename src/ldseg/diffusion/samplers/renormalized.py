"""Sampling in which the latent itself is normalized at each step (Zaman et al. 2026)."""

from __future__ import annotations

import torch
from torch import Tensor

from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, Sampler, ignore
from ldseg.diffusion.timesteps import Timesteps

_LEAST_VARIANCE = 1e-6


def renormalized(sampler: Sampler) -> Sampler:
    """Return a sampler that takes each step by `sampler` and normalizes the latent of each case before the
    first step and after each. A sampler of several orders has the first one here."""

    def run(
        denoise: Denoise, z: Tensor, timesteps: Timesteps, draw: DrawNoise, on_step: OnStep = ignore
    ) -> Tensor:
        def on_normalized(time: Tensor, z: Tensor, z0: Tensor) -> None:
            on_step(time, normalize(z), normalize(z0))

        hook = ignore if on_step is ignore else on_normalized
        z = normalize(z)
        for step in timesteps.single_steps():
            z = normalize(sampler(denoise, z, step, draw, hook))
        return z

    return run


def normalize(z: Tensor) -> Tensor:
    """Return latents (B, C, *S) with zero mean and unit variance over each case."""
    axes = tuple(range(1, z.ndim))
    centred = z - z.mean(axes, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + _LEAST_VARIANCE)
