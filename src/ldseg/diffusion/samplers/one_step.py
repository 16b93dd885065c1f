"""One call of the denoiser at the first time, whatever times follow."""

from __future__ import annotations

from torch import Tensor

from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, ignore
from ldseg.diffusion.timesteps import Timesteps


def one_step(
    denoise: Denoise,
    z: Tensor,
    timesteps: Timesteps,
    draw: DrawNoise,  # noqa: ARG001  (one signature for all samplers)
    on_step: OnStep = ignore,
) -> Tensor:
    """Return the clean estimate at the first time."""
    z0 = denoise(z, timesteps[0])
    on_step(timesteps[-1].time, z0, z0)
    return z0
