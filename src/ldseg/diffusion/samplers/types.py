"""What samplers share.

z: (B, C, *S) latent. times: (n + 1,), from 1 down to 0. The last time is always 0, where the clean estimate
itself is the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from ldseg.diffusion.schedule import Schedule

Times = Tensor | tuple[Tensor, ...]
"""(n + 1,), or as many scalars."""
Denoise = Callable[[Tensor, Tensor], Tensor]
"""denoise(z, t) with t a scalar tensor: the clean estimate, shape of z."""
DrawNoise = Callable[[], Tensor]
"""A fresh standard normal tensor, shape of z; the caller owns its randomness."""
OnStep = Callable[[Tensor, Tensor, Tensor], None]
"""on_step(following time, z there, clean estimate): progress, film."""


def ignore(time: Tensor, z: Tensor, z0: Tensor) -> None:
    """Do nothing on a step."""
    del time, z, z0


class Sampler(Protocol):
    """From starting noise `z` at times[0] to a clean latent at times[-1] = 0."""

    def __call__(
        self,
        denoise: Denoise,
        z: Tensor,
        times: Times,
        signal: Schedule,
        draw: DrawNoise,
        on_step: OnStep = ignore,
    ) -> Tensor: ...
