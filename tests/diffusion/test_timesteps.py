"""The timesteps of a sampling are those of each time alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ldseg.diffusion.schedule import even_times, make_schedule
from ldseg.diffusion.timesteps import Timesteps

COSINE = make_schedule("cosine", 1e-4)


def embed(t: Tensor) -> Tensor:
    return torch.stack([t.sin(), t.cos()], 1)


@pytest.mark.parametrize("single", [False, True])
def test_each_timestep_has_its_own_noise_level_and_embedding(single: bool) -> None:
    times = even_times(5)
    timesteps = Timesteps(tuple(times) if single else times, torch.device("cpu"), COSINE, embed)
    assert [float(one.time) for one in timesteps] == times.tolist()
    for one in timesteps:
        torch.testing.assert_close(one.level, COSINE(one.time))
        torch.testing.assert_close(one.embedding, embed(one.time[None]))


def test_a_time_off_the_grid_has_its_own_noise_level_and_embedding() -> None:
    time = torch.tensor(0.35)
    found = Timesteps(even_times(2), torch.device("cpu"), COSINE, embed).at(time)
    torch.testing.assert_close(found.level, COSINE(time))
    torch.testing.assert_close(found.embedding, embed(time[None]))
