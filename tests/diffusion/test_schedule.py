from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ldseg.diffusion.schedule import SCHEDULES, clamped_from, even_times, make_schedule


def alpha_bar(name: str, t: Tensor, least: float = 1e-6, shift: float = 1.0, stretch: float = 1.0) -> Tensor:
    """Return the fraction of signal power at times t."""
    level = make_schedule(name, least, shift, stretch)(t)
    return level.signal_power / (level.signal_power + level.noise_power)


def noisy(name: str, z0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    return make_schedule(name, 1e-4)(t).expand_to(z0).noisy(z0, noise)


@pytest.mark.parametrize("name", SCHEDULES)
def test_signal_falls_from_one_to_about_zero(name: str) -> None:
    signal = alpha_bar(name, torch.linspace(0, 1, 101), 1e-4)
    assert signal[0] == pytest.approx(1.0, abs=1e-6)
    assert 1e-4 <= signal[-1] < 1e-3
    assert (signal.diff() <= 0).all()


def test_linear_schedule_is_the_limit_of_a_thousand_discrete_steps() -> None:
    discrete = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    continuous = alpha_bar("linear", torch.arange(1, 1001, dtype=torch.float64) / 1000)
    torch.testing.assert_close(continuous, discrete, rtol=0.15, atol=1e-3)


def test_an_unknown_schedule_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'sigmoid'; choose one of cosine"):
        make_schedule("sigmoid", 1e-4)


def test_noising_keeps_unit_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    z0, noise = torch.randn(2, 4, 3, 64, 64, generator=generator)
    z = noisy("cosine", z0, noise, torch.tensor([0.0, 0.3, 0.6, 1.0]))
    torch.testing.assert_close(z.var((1, 2, 3)), torch.ones(4), atol=0.05, rtol=0)


def test_each_case_is_noised_by_its_own_time() -> None:
    z0, noise = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    z = noisy("cosine", z0, noise, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(z[0], torch.ones(1, 4, 4))
    torch.testing.assert_close(z[1], torch.full((1, 4, 4), 0.01))


@pytest.mark.parametrize("steps", [1, 2, 15])
def test_times_start_at_pure_noise_and_end_clean(steps: int) -> None:
    times = even_times(steps)
    assert times[0] == 1
    assert times[-1] == 0
    assert len(times) == steps + 1


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps is 0"):
        even_times(0)


def test_rectified_flow_goes_straight_from_the_clean_latent_to_the_noise() -> None:
    t = torch.linspace(0, 0.9, 10, dtype=torch.float64)
    level = make_schedule("rectified_flow", 1e-4)(t)
    torch.testing.assert_close(level.signal, 1 - t)
    torch.testing.assert_close(level.noise, t)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_powers_of_a_level_are_the_squares_of_its_coefficients(name: str) -> None:
    level = make_schedule(name, 1e-4)(torch.linspace(0, 1, 11, dtype=torch.float64))
    torch.testing.assert_close(level.signal_power, level.signal**2)
    torch.testing.assert_close(level.noise_power, level.noise**2)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_shift_divides_the_ratio_of_signal_to_noise(name: str) -> None:
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    plain, shifted = (alpha_bar(name, t, shift=shift) for shift in (1.0, 8.0))
    torch.testing.assert_close(shifted / (1 - shifted), plain / (1 - plain) / 64)


def test_a_stretch_is_a_power_of_the_ratio_of_signal_to_noise() -> None:
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    plain, stretched = (alpha_bar("cosine", t, 1e-6, 2.0, stretch) for stretch in (1.0, 2.0))
    ratio = 4 * plain / (1 - plain)  # before the shift
    torch.testing.assert_close(stretched / (1 - stretched), ratio**2 / 4)


def test_a_clamped_schedule_is_clamped_from_the_time_that_is_found() -> None:
    schedule = make_schedule("cosine", 1e-4, shift=4.0, stretch=2.0)
    start = clamped_from(schedule)
    assert 0.8 < start < 0.9
    before, after = schedule(torch.tensor([start - 1e-3, start + 1e-3])).signal_power
    assert before > 1e-4
    assert after == pytest.approx(1e-4)


def test_a_schedule_without_a_clamp_keeps_its_even_times() -> None:
    start = clamped_from(make_schedule("linear", 1e-6))
    assert start == 1
    assert torch.equal(even_times(8, start), torch.linspace(1, 0, 9))


def test_each_call_after_the_first_has_a_signal_above_its_floor() -> None:
    schedule = make_schedule("cosine", 1e-4, shift=4.0, stretch=2.0)
    times = even_times(16, clamped_from(schedule))
    assert times[0] == 1
    assert (schedule(times).signal.diff() > 0).all()
