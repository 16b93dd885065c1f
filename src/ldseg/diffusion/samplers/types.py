"""The types that all samplers share.

z: (B, C, *S) latent. Timesteps run from t = 1 down to 0, where the clean estimate itself is the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from ldseg.diffusion.timesteps import Timestep, Timesteps

Denoise = Callable[[Tensor, Timestep], Tensor]
"""denoise(z, timestep): the clean estimate, shape of z."""
DrawNoise = Callable[[], Tensor]
"""draw(): a fresh standard normal tensor, shape of z; the caller owns its randomness."""
OnStep = Callable[[Tensor, Tensor, Tensor], None]
"""on_step(next time, z there, clean estimate): a hook for progress and for recording the trajectory."""


def ignore(time: Tensor, z: Tensor, z0: Tensor) -> None:
    """Do nothing on a step."""
    del time, z, z0


class Sampler(Protocol):
    """A function from starting noise `z` at the first timestep to a clean latent at the last, t = 0."""

    def __call__(
        self,
        denoise: Denoise,
        z: Tensor,
        timesteps: Timesteps,
        draw: DrawNoise,
        on_step: OnStep = ignore,
    ) -> Tensor: ...
