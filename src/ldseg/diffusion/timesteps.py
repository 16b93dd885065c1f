"""The times of a sampling with all that depends on time alone, computed once before the first step.

A step works on a tiny grid: evaluating the schedule and embedding the time would be a good part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import pairwise
from typing import NamedTuple, overload

import torch
from torch import Tensor

from ldseg.diffusion.schedule import NoiseLevel, Schedule

Times = Tensor | tuple[Tensor, ...]
"""Times of a sampling, (n + 1,), or as many scalars, which a trace of the sampling can follow."""
Embed = Callable[[Tensor], Tensor]
"""A denoiser's embedding (n, T) of times (n,)."""


class Timestep(NamedTuple):
    """A time of a sampling, the same for all cases."""

    time: Tensor
    """t, a scalar, where the caller made it: samplers compare it, and on the CPU that waits for no GPU."""
    level: NoiseLevel
    """Noise level at t, scalars."""
    embedding: Tensor
    """The denoiser's embedding of t, (1, T)."""


class Timesteps(Sequence[Timestep]):
    """The grid of a sampling's timesteps, from t = 1 down to 0, and any time between them."""

    def __init__(self, times: Times, device: torch.device, schedule: Schedule, embed: Embed) -> None:
        """Compute the noise level of each time on a device, and all embeddings in one call."""
        self._device, self._schedule, self._embed = device, schedule, embed
        if isinstance(times, Tensor):
            there = times.to(device)
            levels = [NoiseLevel(*of_time) for of_time in zip(*schedule(there), strict=True)]
        else:  # one by one, so that a trace knows the value of each
            levels = [schedule(t) for t in times]
            there = torch.stack(times)
        embeddings = embed(there).split(1)
        self._grid = [Timestep(*of_time) for of_time in zip(times, levels, embeddings, strict=True)]

    def at(self, time: Tensor) -> Timestep:
        """Return the timestep at a time (a scalar) that need not be of the grid."""
        there = time.to(self._device)
        return Timestep(time, self._schedule(there), self._embed(there[None]))

    def single_steps(self) -> Iterator[Timesteps]:
        """Yield the grid of each step alone: two timesteps."""
        for pair in pairwise(self._grid):
            step = copy(self)
            step._grid = list(pair)
            yield step

    @overload
    def __getitem__(self, index: int) -> Timestep: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Timestep]: ...
    def __getitem__(self, index: int | slice) -> Timestep | Sequence[Timestep]:
        return self._grid[index]

    def __len__(self) -> int:
        return len(self._grid)

    def __iter__(self) -> Iterator[Timestep]:
        return iter(self._grid)
