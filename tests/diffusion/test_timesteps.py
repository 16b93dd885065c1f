"""The timesteps of a sampling are those of each time alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ldseg.diffusion.schedule import cosine, even_times
from ldseg.diffusion.timesteps import make_timesteps


def embed(t: Tensor) -> Tensor:
    return torch.stack([t.sin(), t.cos()], 1)


@pytest.mark.parametrize("single", [False, True])
def test_each_timestep_has_its_own_signal_power_and_embedding(single: bool) -> None:
    times = even_times(5)
    timesteps = make_timesteps(tuple(times) if single else times, torch.device("cpu"), cosine, embed)
    assert [float(one.time) for one in timesteps] == times.tolist()
    for one in timesteps:
        torch.testing.assert_close(one.alpha_bar, cosine(one.time))
        torch.testing.assert_close(one.embedding, embed(one.time[None]))
