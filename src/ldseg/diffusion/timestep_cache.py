"""What depends on time alone, computed once for all times of a sampling.

A step works on a tiny grid: looking up the schedule and embedding the time would be a good part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ldseg.diffusion.samplers.types import Times
from ldseg.diffusion.schedule import Schedule


class Moment(NamedTuple):
    """The times of a batch of B cases; B is 1 where all have the same."""

    signal: Tensor
    """a(t), (B,)."""
    embedding: Tensor
    """What a network is told of t, (B, T)."""


class Timetable:
    """The times of a sampling, as scalars, with their moments.

    A time is known by being one of `times`, not by its value, so that it need not be read from the device and
    a trace of the sampling can follow.
    """

    def __init__(
        self, times: Times, device: torch.device, signal: Schedule, embed: Callable[[Tensor], Tensor]
    ) -> None:
        """Of `times` on that device; `embed` takes (n + 1,) to (n + 1, T)."""
        if isinstance(times, Tensor):
            times = times.to(device)
            powers = signal(times).split(1)
        else:  # one by one, so that a trace knows the value of each
            powers = [signal(t)[None] for t in times]
        self.times = tuple(times)
        moments = zip(powers, embed(torch.stack(self.times)).split(1), strict=True)
        self._moments = {id(t): Moment(*moment) for t, moment in zip(self.times, moments, strict=True)}

    def at(self, t: Tensor) -> Moment:
        """Of one of `times`."""
        return self._moments[id(t)]

    def signal(self, t: Tensor) -> Tensor:
        """a(t) of one of `times`, a scalar as t is."""
        return self.at(t).signal[0]
