"""Moments of a sampling's times are those of each time alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ldseg.diffusion.schedule import cosine, even_times
from ldseg.diffusion.timestep_cache import Timetable


def embed(t: Tensor) -> Tensor:
    return torch.stack([t.sin(), t.cos()], 1)


@pytest.mark.parametrize("single", [False, True])
def test_each_time_has_its_own_moment(single: bool) -> None:
    times = even_times(5)
    table = Timetable(tuple(times) if single else times, torch.device("cpu"), cosine, embed)
    assert [float(t) for t in table.times] == times.tolist()
    for t in table.times:
        torch.testing.assert_close(table.at(t).signal, cosine(t)[None])
        torch.testing.assert_close(table.at(t).embedding, embed(t[None]))
        torch.testing.assert_close(table.signal(t), cosine(t))
