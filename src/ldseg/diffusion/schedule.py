"""Forward noising of the label latent.

z_t = sqrt(a(t)) * z0 + sqrt(1 - a(t)) * e,  e ~ N(0, I)    (Ho et al. 2020, eq. 4; Zaman et al. 2026)
Shapes: B cases, C latent channels, *S latent grid. t has shape (B,), in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Schedule = Callable[[Tensor], Tensor]
"""Signal power a(t) of times t, same shape, decreasing from 1 to about 0."""

_BETA_START, _BETA_END = 0.1, 20.0  # noise rates per unit of time: 1e-4 and 0.02 per step at T = 1000
_COSINE_OFFSET = 0.008
_BISECTIONS = 40
"""Halvings of an interval of times: far below the spacing of float32."""


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


SCHEDULES: dict[str, Schedule] = {"cosine": cosine, "linear": linear, "quadratic": quadratic}


def make_schedule(name: str, min_alpha_bar: float, shift: float = 1.0, stretch: float = 1.0) -> Schedule:
    """Return the named schedule with the ratio of signal to noise (amplitudes) raised to the power `stretch`
    and divided by `shift`, never below `min_alpha_bar` (the shift: Hoogeboom et al. 2023, section 3.1).

    Raises:
        ValueError: no schedule has this name.
    """
    if name not in SCHEDULES:
        raise ValueError(f"noise.schedule is {name!r}; choose one of {', '.join(SCHEDULES)}")
    chosen = SCHEDULES[name]

    def shifted(t: Tensor) -> Tensor:
        a = chosen(t).clamp(0.0, 1.0)
        signal, noise = a**stretch, (1 - a) ** stretch
        return (signal / (signal + shift**2 * noise)).clamp(min_alpha_bar, 1.0)

    return shifted


def expand_to(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (B,) to (B, 1, 1, ...) with as many axes as `like`."""
    return values.reshape(values.shape[0], *([1] * (like.ndim - 1)))


def add_noise(z0: Tensor, noise: Tensor, t: Tensor, alpha_bar: Schedule) -> Tensor:
    """Return z_t, shape of z0. The caller draws `noise`."""
    a = expand_to(alpha_bar(t), z0)
    return a.sqrt() * z0 + (1 - a).sqrt() * noise


def draw_times(
    cases: int, pure_noise_share: float, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """Draw t in [0, 1] per case (B,) for training, for a fraction of the cases t = 1, where sampling
    starts."""
    uniform, choice = torch.rand(2, cases, generator=generator, device=device)
    return torch.where(choice < pure_noise_share, torch.ones_like(uniform), uniform)


def clamped_from(alpha_bar: Schedule, min_alpha_bar: float) -> float:
    """Return the time from which on the signal power stays at `min_alpha_bar`, or 1 if it never does."""

    def is_clamped(time: float) -> bool:
        with torch.device("cpu"):  # also where a model is built on the meta device, which has no values
            return alpha_bar(torch.tensor([time], dtype=torch.float64)).item() <= min_alpha_bar

    low, high = 0.0, 1.0
    if not is_clamped(high):
        return high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_clamped(middle) else (middle, high)
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
