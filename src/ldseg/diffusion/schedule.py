"""Forward noising of the label latent.

z_t = s(t) z0 + n(t) e,  e ~ N(0, I)        with the signal level s, the noise level n, and their fraction
alpha_bar(t) = s^2 / (s^2 + n^2)            of signal power, decreasing from 1 to about 0

A schedule is a curve alpha_bar(t) and a path, which says s and n at an alpha_bar:
variance preserving    s = sqrt(alpha_bar), n = sqrt(1 - alpha_bar)    (Ho et al. 2020, eq. 4; Zaman et al.
                                                                       2026)
straight               s = 1 - n, on the line from z0 to e             (Liu et al. 2023; Lipman et al. 2023)

Shapes: B cases, C latent channels, *S latent grid. t has shape (B,), in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ldseg.utils.registry import Registry

_BETA_START, _BETA_END = 0.1, 20.0  # noise rates per unit of time: 1e-4 and 0.02 per step at T = 1000
_COSINE_OFFSET = 0.008
_BISECTIONS = 40
"""Halvings of an interval of times: far below the spacing of float32."""


class NoiseLevel(NamedTuple):
    """Coefficients of a noisy latent z_t = signal z0 + noise e, and their squares, all of one shape."""

    signal: Tensor
    noise: Tensor
    signal_power: Tensor
    noise_power: Tensor

    def expand_to(self, like: Tensor) -> NoiseLevel:
        """Reshape (B,) to (B, 1, 1, ...) with as many axes as `like`."""
        return NoiseLevel(*(expand_to(values, like) for values in self))

    def first(self, cases: int) -> NoiseLevel:
        """Return the levels of the first cases."""
        return NoiseLevel(*(values[:cases] for values in self))

    def noisy(self, z0: Tensor, noise: Tensor) -> Tensor:
        """Return z_t, shape of z0."""
        return self.signal * z0 + self.noise * noise


Schedule = Callable[[Tensor], NoiseLevel]
"""Noise levels of times t, each of the shape of t."""


def variance_preserving(alpha_bar: Tensor) -> NoiseLevel:
    """Return the levels at which z_t has unit variance if z0 has it."""
    return NoiseLevel(alpha_bar.sqrt(), (1 - alpha_bar).sqrt(), alpha_bar, 1 - alpha_bar)


def straight(alpha_bar: Tensor) -> NoiseLevel:
    """Return the levels s = 1 - n of a straight line from z0 to the noise."""
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    signal, noise = signal / (signal + noise), noise / (signal + noise)
    return NoiseLevel(signal, noise, signal.square(), noise.square())


def cosine(t: Tensor) -> Tensor:
    """Return the cosine schedule (Nichol & Dhariwal 2021, eq. 17)."""

    def power(time: Tensor | float) -> Tensor:
        angle = torch.as_tensor((time + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * (math.pi / 2))
        return torch.cos(angle) ** 2

    return power(t) / math.cos(_COSINE_OFFSET / (1 + _COSINE_OFFSET) * math.pi / 2) ** 2


def linear(t: Tensor) -> Tensor:
    """Return alpha_bar for a noise rate linear in t (Ho et al. 2020, section 4), in continuous time."""
    return torch.exp(-(_BETA_START * t + 0.5 * (_BETA_END - _BETA_START) * t**2))


def quadratic(t: Tensor) -> Tensor:
    """Return alpha_bar for a noise rate whose square root is linear in t."""
    start = math.sqrt(_BETA_START)
    rise = math.sqrt(_BETA_END) - start
    return torch.exp(-(start**2 * t + start * rise * t**2 + rise**2 * t**3 / 3))


def linear_interpolation(t: Tensor) -> Tensor:
    """Return alpha_bar for a signal level 1 - t and a noise level t (Liu et al. 2023)."""
    return (1 - t) ** 2 / ((1 - t) ** 2 + t**2)


@dataclass(frozen=True)
class NoiseSchedule:
    """The schedule that a name in `noise.schedule` selects."""

    alpha_bar: Callable[[Tensor], Tensor]
    """Fraction of signal power at times t, shape of t; decreasing from 1 to about 0."""
    path: Callable[[Tensor], NoiseLevel] = variance_preserving
    """Noise levels at an alpha_bar."""


SCHEDULES: Registry[NoiseSchedule] = Registry(
    "model.noise.schedule",
    {
        "cosine": NoiseSchedule(cosine),
        "linear": NoiseSchedule(linear),
        "quadratic": NoiseSchedule(quadratic),
        "rectified_flow": NoiseSchedule(linear_interpolation, straight),
    },
)


def make_schedule(name: str, min_alpha_bar: float, shift: float = 1.0, stretch: float = 1.0) -> Schedule:
    """Return the named schedule with the ratio of signal to noise (amplitudes) raised to the power `stretch`
    and divided by `shift`, alpha_bar never below `min_alpha_bar` (the shift: Hoogeboom et al. 2023, section
    3.1; Esser et al. 2024, section 5.3.2, for a straight path).

    Raises:
        ValueError: no schedule has this name.
    """
    chosen = SCHEDULES.find(name)

    def shifted(t: Tensor) -> NoiseLevel:
        a = chosen.alpha_bar(t).clamp(0.0, 1.0)
        signal, noise = a**stretch, (1 - a) ** stretch
        return chosen.path((signal / (signal + shift**2 * noise)).clamp(min_alpha_bar, 1.0))

    return shifted


def expand_to(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (B,) to (B, 1, 1, ...) with as many axes as `like`."""
    return values.reshape(values.shape[0], *([1] * (like.ndim - 1)))


def draw_times(
    cases: int,
    pure_noise_share: float,
    generator: torch.Generator | None,
    device: torch.device,
    timesteps: int | None = None,
) -> Tensor:
    """Draw t in [0, 1] per case (B,) for training, for a fraction of the cases t = 1, where sampling
    starts; of discrete times if there are `timesteps`."""
    uniform, choice = torch.rand(2, cases, generator=generator, device=device)
    if timesteps is not None:
        uniform = (uniform * timesteps).floor() / timesteps
    return torch.where(choice < pure_noise_share, torch.ones_like(uniform), uniform)


def clamped_from(schedule: Schedule) -> float:
    """Return the time from which on the noise level is that of t = 1, or 1 if it changes until then."""

    def ratio(time: float) -> float:
        with torch.device("cpu"):  # also where a model is built on the meta device, which has no values
            level = schedule(torch.tensor([time], dtype=torch.float64))
        return (level.signal / level.noise).item()

    least = ratio(1.0)
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if ratio(middle) <= least else (middle, high)
    return high


def even_times(steps: int, clamped: float = 1.0) -> Tensor:
    """Return times 1 = t_0 > ... > t_steps = 0 of the calls of a sampling, which starts from pure noise.

    They are evenly spaced between 0 and `clamped` (see `clamped_from`), except that the first is always 1:
    the noise is the same there, and 1 is what the deterministic prediction learns. A call between both would
    change nothing.

    Raises:
        ValueError: fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; at least one step is needed")
    times = torch.linspace(clamped, 0.0, steps + 1)
    times[0] = 1.0
    return times


def discrete_times(steps: int, timesteps: int) -> Tensor:
    """Return `steps` evenly spaced times from (timesteps - 1) / timesteps down to 0, as Zaman et al. 2026.

    Nothing moves at 0, so that the denoiser is called once less than there are times, at least once.

    Raises:
        ValueError: fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; at least one step is needed")
    numbers = torch.linspace(0, timesteps - 1, max(2, steps), dtype=torch.float64)
    return (numbers.floor() / timesteps).flip(0).float()
