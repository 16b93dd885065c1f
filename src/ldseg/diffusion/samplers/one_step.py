"""One call of the denoiser at the first time, whatever times follow."""

from __future__ import annotations

from torch import Tensor

from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, Times, ignore
from ldseg.diffusion.schedule import Schedule


def one_step(
    denoise: Denoise,
    z: Tensor,
    times: Times,
    signal: Schedule,  # noqa: ARG001  (one signature for all samplers)
    draw: DrawNoise,  # noqa: ARG001
    on_step: OnStep = ignore,
) -> Tensor:
    """The clean estimate at times[0]."""
    z0 = denoise(z, times[0])
    on_step(times[-1], z0, z0)
    return z0
