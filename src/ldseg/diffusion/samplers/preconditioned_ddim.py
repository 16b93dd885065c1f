"""A sampler that is exact for a Gaussian, so that few steps give samples their spread.

An image says most of a latent. What it leaves open is decided late, where the noise is as small as that;
DDIM, exact where nothing is left open, loses most of it in a handful of steps. Here a step is exact for a
Gaussian of deviation 1 around m, the clean estimate of the first call: with cos(h) = sqrt(a)

    u = z - sqrt(a) m = cos(h) x + sin(h) e,    x = z0 - m

is a point on a circle through latent and noise. The probability flow turns it by du/dh = -F with
F = (x^ - cos(h) u) / sin(h), where x^ is the clean estimate less m; that is 0 for the Gaussian and small for
others, and a step from h to h' adds F (h - h') (the velocity in the angle: Salimans & Ho 2022, appendix D,
for m = 0).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from ldseg.diffusion.parameterization import LEAST_NOISE
from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, Times, ignore
from ldseg.diffusion.schedule import Schedule


def preconditioned_ddim(
    denoise: Denoise,
    z: Tensor,
    times: Times,
    signal: Schedule,
    draw: DrawNoise,  # noqa: ARG001  (deterministic; one signature for all samplers)
    on_step: OnStep = ignore,
) -> Tensor:
    """A single step answers with the clean estimate, as with every sampler."""
    mean: Tensor | None = None
    for now, following in pairwise(times):
        z0 = denoise(z, now)
        if mean is None and following == 0:
            z = z0
        else:
            mean = z0 if mean is None else mean
            a = signal(now)
            z = _turn(z, z0, mean, a, torch.ones_like(a) if following == 0 else signal(following))
        on_step(following, z, z0)
    return z


def _turn(z: Tensor, z0: Tensor, mean: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """From signal power a to b: cos(h') m + u + F (h - h'), gathered by what the scalars multiply."""
    cosine, cosine_after = a.sqrt(), b.sqrt()
    gain = (cosine.acos() - cosine_after.acos()) / (1 - a).sqrt().clamp_min(LEAST_NOISE)
    kept = 1 - gain * cosine
    drawn = cosine_after - gain - kept * cosine
    return torch.addcmul(torch.addcmul(kept * z, drawn, mean), gain, z0)
