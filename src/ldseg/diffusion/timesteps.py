"""The times of a sampling with all that depends on time alone, computed once before the first step.

A step works on a tiny grid: evaluating the schedule and embedding the time would be a good part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ldseg.diffusion.schedule import Schedule

Times = Tensor | tuple[Tensor, ...]
"""Times of a sampling, (n + 1,), or as many scalars, which a trace of the sampling can follow."""


class Timestep(NamedTuple):
    """A time of a sampling, the same for all cases."""

    time: Tensor
    """t, a scalar, where the caller made it: samplers compare it, and on the CPU that waits for no GPU."""
    alpha_bar: Tensor
    """Signal power at t, a scalar."""
    embedding: Tensor
    """The denoiser's embedding of t, (1, T)."""


Timesteps = tuple[Timestep, ...]


def make_timesteps(
    times: Times, device: torch.device, alpha_bar: Schedule, embed: Callable[[Tensor], Tensor]
) -> Timesteps:
    """Return `times` with signal power and embedding on a device; `embed` maps (n + 1,) to (n + 1, T)."""
    if isinstance(times, Tensor):
        there = times.to(device)
        powers = tuple(alpha_bar(there))
    else:  # one by one, so that a trace knows the value of each
        powers = tuple(alpha_bar(t) for t in times)
        there = torch.stack(times)
    scalars = tuple(times)
    embeddings = embed(there).split(1)
    return tuple(Timestep(*of_time) for of_time in zip(scalars, powers, embeddings, strict=True))
