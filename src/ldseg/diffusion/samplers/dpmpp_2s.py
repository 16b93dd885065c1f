"""DPM-Solver++(2S), second order single-step in the clean estimate (Lu et al. 2022b, algorithm 1).

Each step but the last calls the denoiser twice: at its start, and at a time halfway to its end, which the
grid of times does not have.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from ldseg.diffusion.samplers.dpmpp_2m import log_snr, solver_step
from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, ignore
from ldseg.diffusion.timesteps import Timesteps


def dpmpp_2s(
    denoise: Denoise,
    z: Tensor,
    timesteps: Timesteps,
    draw: DrawNoise,  # noqa: ARG001  (deterministic; one signature for all samplers)
    on_step: OnStep = ignore,
) -> Tensor:
    """Return the clean latent; the last step, to t = 0, takes the clean estimate."""
    for now, following in pairwise(timesteps):
        z0 = denoise(z, now)
        if following.time == 0:
            z = z0
        else:
            a, b = now.level, following.level
            between = timesteps.at((now.time + following.time) / 2)
            halfway = denoise(solver_step(z, z0, a, between.level), between)
            width = log_snr(b) - log_snr(a)
            # Halfway in time is not halfway in log SNR. At the least signal a grid time is clamped: then 0.
            reached = (log_snr(between.level) - log_snr(a)) / width
            weight = (1 / (2 * reached)).nan_to_num(posinf=0.0)
            z = solver_step(z, (1 - weight) * z0 + weight * halfway, a, b)
        on_step(following.time, z, z0)
    return z
