"""Every sampler against a Gaussian whose exact denoiser is known: z0 ~ N(MEAN, DEVIATION^2) per voxel."""

from functools import partial

import pytest
import torch
from torch import Tensor

from ldseg.diffusion.samplers import SAMPLERS, find_sampler
from ldseg.diffusion.schedule import Schedule, clamped_from, even_times, make_schedule
from ldseg.diffusion.timesteps import Timestep, Timesteps

MEAN, DEVIATION = 2.0, 0.5
LEAST_SIGNAL = 1e-4
COSINE = make_schedule("cosine", LEAST_SIGNAL)
STRAIGHT = make_schedule("rectified_flow", LEAST_SIGNAL)
SCHEDULES = pytest.mark.parametrize("schedule", [COSINE, STRAIGHT], ids=["cosine", "rectified_flow"])
SHIFTED = make_schedule("cosine", LEAST_SIGNAL, shift=4.0, stretch=2.0)


def timesteps_of(times: Tensor, schedule: Schedule = COSINE) -> Timesteps:
    return Timesteps(times, times.device, schedule, lambda t: t[:, None])


def exact_denoiser(z: Tensor, now: Timestep, deviation: float | Tensor = DEVIATION) -> Tensor:
    level = now.level
    gain = level.signal * deviation**2 / (level.signal_power * deviation**2 + level.noise_power)
    return MEAN + gain * (z - level.signal * MEAN)


def sample(
    name: str,
    steps: int,
    seed: int = 0,
    deviation: float | Tensor = DEVIATION,
    schedule: Schedule = COSINE,
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        return torch.randn(2, 4, 32, 32, generator=generator)

    exact = partial(exact_denoiser, deviation=deviation)
    times = even_times(steps, clamped_from(schedule))
    return find_sampler(name)(exact, draw(), timesteps_of(times, schedule), draw)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 15])
@SCHEDULES
def test_the_mean_is_right_at_any_number_of_steps(name: str, steps: int, schedule: Schedule) -> None:
    assert sample(name, steps, schedule=schedule).mean().item() == pytest.approx(MEAN, abs=0.02)


@pytest.mark.parametrize("name", [n for n in SAMPLERS if n != "one_step"])
@SCHEDULES
def test_many_steps_reach_the_spread_of_the_distribution(name: str, schedule: Schedule) -> None:
    assert sample(name, 200, schedule=schedule).std().item() == pytest.approx(DEVIATION, rel=0.05)


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_seed_same_sample(name: str) -> None:
    assert torch.equal(sample(name, 5, seed=1), sample(name, 5, seed=1))
    assert not torch.equal(sample(name, 5, seed=1), sample(name, 5, seed=2))


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_of_any_sampler_is_one_call_and_the_same_answer(name: str) -> None:
    calls: list[float] = []

    def counting(z: Tensor, now: Timestep) -> Tensor:
        calls.append(float(now.time))
        return exact_denoiser(z, now)

    start = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    answer = find_sampler(name)(counting, start, timesteps_of(even_times(1)), lambda: torch.zeros_like(start))
    assert calls == [1.0]
    torch.testing.assert_close(answer, exact_denoiser(start, timesteps_of(even_times(1))[0]))


@pytest.mark.parametrize("name", [n for n in SAMPLERS if n != "one_step"])
def test_each_step_is_one_report(name: str) -> None:
    reported: list[float] = []
    start = torch.zeros(1, 2, 8, 8)
    find_sampler(name)(
        exact_denoiser,
        start,
        timesteps_of(even_times(4)),
        lambda: torch.zeros_like(start),
        lambda time, *_: reported.append(float(time)),
    )
    assert reported == pytest.approx([0.75, 0.5, 0.25, 0.0])


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_2s"])
@SCHEDULES
def test_second_order_needs_fewer_steps_than_first_order(name: str, schedule: Schedule) -> None:
    fine = sample("ddim", 500, schedule=schedule)
    first = (sample("ddim", 10, schedule=schedule) - fine).abs().mean()
    second = (sample(name, 10, schedule=schedule) - fine).abs().mean()
    assert second < 0.5 * first


def test_the_single_step_solver_calls_the_denoiser_between_the_times_of_the_grid() -> None:
    called: list[float] = []

    def denoise(z: Tensor, now: Timestep) -> Tensor:
        called.append(float(now.time))
        assert now.embedding.item() == now.time  # embedded at its own time
        return exact_denoiser(z, now)

    start = torch.zeros(1, 2, 8, 8)
    find_sampler("dpmpp_2s")(denoise, start, timesteps_of(even_times(2)), lambda: start)
    assert called == pytest.approx([1.0, 0.75, 0.5])


@SCHEDULES
def test_a_step_of_euler_is_that_of_ddim(schedule: Schedule) -> None:
    torch.testing.assert_close(sample("euler", 5, schedule=schedule), sample("ddim", 5, schedule=schedule))


def test_on_a_straight_path_euler_follows_the_velocity() -> None:
    z0, noise = torch.randn(2, 1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    seen: list[tuple[float, Tensor]] = []
    find_sampler("euler")(
        lambda *_: z0,
        STRAIGHT(torch.ones(())).noisy(z0, noise),
        timesteps_of(even_times(4, clamped_from(STRAIGHT)), STRAIGHT),
        lambda: noise,
        lambda time, z, _: seen.append((float(time), z)),
    )
    for time, z in seen[:-1]:
        torch.testing.assert_close(z, (1 - time) * z0 + time * noise)


@pytest.mark.parametrize("deviation", [0.03, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("steps", [4, 8, 16])
def test_few_steps_of_preconditioned_ddim_give_any_gaussian_its_spread(deviation: float, steps: int) -> None:
    found = sample("preconditioned_ddim", steps, deviation=deviation)
    assert found.std().item() == pytest.approx(deviation, rel=0.1 if steps < 8 else 0.04)


@pytest.mark.parametrize("deviation", [0.03, 0.1, 0.3, 1.0])
def test_two_steps_of_the_default_presets_schedule_give_any_gaussian_its_spread(deviation: float) -> None:
    found = sample("preconditioned_ddim", 2, deviation=deviation, schedule=SHIFTED)
    assert found.std().item() == pytest.approx(deviation, rel=0.1)


@pytest.mark.parametrize("deviation", [0.1, 0.3])
def test_ddim_loses_more_of_the_spread_in_few_steps(deviation: float) -> None:
    assert sample("ddim", 8, deviation=deviation).std().item() < 0.8 * deviation


def test_sure_positions_among_open_ones_stay_within_a_tenth_of_the_latents_unit() -> None:
    deviation = torch.full((1, 4, 32, 32), 0.03)
    deviation[..., :3] = 0.5
    found = sample("preconditioned_ddim", 8, deviation=deviation, schedule=SHIFTED)
    assert found[..., 3:].std().item() < 0.1
    assert found[..., :3].std().item() == pytest.approx(0.5, rel=0.15)


def test_a_sample_of_preconditioned_ddim_does_not_depend_on_its_batch() -> None:
    start = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    times = even_times(4)

    def run(z: Tensor) -> Tensor:
        return find_sampler("preconditioned_ddim")(exact_denoiser, z, timesteps_of(times), lambda: z)

    torch.testing.assert_close(run(start)[:1], run(start[:1]), rtol=0, atol=1e-6)


def test_preconditioned_ddim_reaches_both_of_two_answers_as_often_as_they_are() -> None:
    share, deviation = 0.3, 0.05

    def exact(z: Tensor, now: Timestep) -> Tensor:
        """Of 1 in 30 % and -1 in 70 %, each with a small deviation."""
        signal = now.level.signal
        v = now.level.signal_power * deviation**2 + now.level.noise_power
        odds = 2 * signal * z / v + torch.tensor(share / (1 - share)).log()
        centre = 2 * torch.sigmoid(odds) - 1
        return centre + signal * deviation**2 / v * (z - signal * centre)

    start = torch.randn(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    found = find_sampler("preconditioned_ddim")(exact, start, timesteps_of(even_times(8)), lambda: start)
    assert (found > 0).float().mean().item() == pytest.approx(share, abs=0.02)
    assert (found.abs() - 1).abs().mean().item() < 0.1


def test_an_unknown_sampler_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'plms'; choose one of ddim"):
        find_sampler("plms")


def test_the_former_name_of_a_sampler_leads_to_its_name_of_today() -> None:
    with pytest.raises(ValueError, match=r"'gaussian', now called 'preconditioned_ddim'"):
        find_sampler("gaussian")
