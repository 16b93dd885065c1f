"""Sampling as published: integer times, the latent normalized before the first step and after each."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ldseg.diffusion.samplers import find_sampler
from ldseg.diffusion.samplers.renormalized import normalize, renormalized
from ldseg.diffusion.schedule import discrete_times, draw_times, make_schedule
from ldseg.diffusion.timesteps import Timestep, Timesteps

STEPWISE = pytest.mark.parametrize("name", ["ddim", "ddpm"])


def is_normalized(z: Tensor) -> bool:
    axes = tuple(range(1, z.ndim))
    zeros, ones = torch.zeros(len(z)), torch.ones(len(z))
    return bool(
        torch.allclose(z.mean(axes), zeros, atol=1e-5)
        and torch.allclose(z.var(axes, correction=0), ones, atol=1e-4)
    )


def sample(name: str, seen: list[Tensor], steps: int = 15) -> tuple[Tensor, list[float], list[Tensor]]:
    """Sample with a denoiser that records what it sees; return the latent, the times and the trajectory."""
    generator = torch.Generator().manual_seed(0)
    times: list[float] = []
    trajectory: list[Tensor] = []

    def draw() -> Tensor:
        return torch.randn(2, 1, 8, 8, generator=generator)

    def denoise(z: Tensor, now: Timestep) -> Tensor:
        seen.append(z)
        times.append(float(now.time))
        return 40 * z + 3

    def on_step(time: Tensor, z: Tensor, z0: Tensor) -> None:
        del time, z0
        trajectory.append(z)

    schedule = make_schedule("cosine", min_alpha_bar=1e-6)
    times_of = discrete_times(steps, 1000)
    timesteps = Timesteps(times_of, torch.device("cpu"), schedule, lambda t: t[:, None])
    z = renormalized(find_sampler(name))(denoise, 5 + 7 * draw(), timesteps, draw, on_step)
    return z, times, trajectory


@STEPWISE
def test_the_latent_is_normalized_before_the_first_step_and_after_each(name: str) -> None:
    seen: list[Tensor] = []
    z, _, trajectory = sample(name, seen)
    assert all(is_normalized(one) for one in (*seen, *trajectory, z))
    assert torch.equal(trajectory[-1], z)
    assert all(torch.equal(one, after) for one, after in zip(trajectory, seen[1:], strict=False))


def test_fifteen_times_lead_from_999_to_0() -> None:
    times = (1000 * discrete_times(15, 1000)).round().int().tolist()
    assert times == [999, 927, 856, 784, 713, 642, 570, 499, 428, 356, 285, 214, 142, 71, 0]


@STEPWISE
def test_nothing_moves_at_zero(name: str) -> None:
    """The step to 0 reaches the clean estimate; the call there would change nothing and is left out."""
    seen: list[Tensor] = []
    z, times, _ = sample(name, seen)
    assert len(times) == 14
    assert (times[0], times[-1]) == (pytest.approx(0.999), pytest.approx(0.071))
    torch.testing.assert_close(z, normalize(40 * seen[-1] + 3))


def test_two_steps_are_one_useful_call_and_so_is_one() -> None:
    assert torch.equal(discrete_times(2, 1000), discrete_times(1, 1000))
    assert discrete_times(1, 1000).tolist() == [pytest.approx(0.999), 0.0]
    with pytest.raises(ValueError, match="steps is 0; at least one step"):
        discrete_times(0, 1000)


def test_a_case_is_normalized_by_itself() -> None:
    z = torch.randn(3, 2, 4, 4) * torch.tensor([1.0, 5.0, 9.0]).reshape(3, 1, 1, 1)
    torch.testing.assert_close(normalize(z)[1:2], normalize(z[1:2]))
    assert is_normalized(normalize(z))


def test_training_draws_all_integer_times_equally_often() -> None:
    t = draw_times(20_000, 0.0, torch.Generator().manual_seed(0), torch.device("cpu"), timesteps=10)
    counts = torch.bincount((10 * t).round().int(), minlength=10)
    assert counts.shape == (10,)
    assert counts.min() > 1800
    torch.testing.assert_close(10 * t, (10 * t).round())
