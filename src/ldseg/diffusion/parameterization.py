"""What the denoiser predicts, and how its prediction is read as a clean latent.

epsilon: the noise e (Ho et al. 2020); sample: z0; v_prediction: v = s e - n z0 (Salimans & Ho 2022, section
4); flow: e - z0, the velocity along a straight path (Liu et al. 2023).
`level` has the coefficients of z = s z0 + n e, expanded to the shape of the latent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ldseg.diffusion.schedule import NoiseLevel
from ldseg.utils.registry import Registry

LEAST_NOISE = 1e-4
"""Share that a latent is taken to have of it, at least, where it is divided by."""


class Parameterization(Protocol):
    """Target of the denoiser and its reading."""

    def target(self, z0: Tensor, noise: Tensor, level: NoiseLevel) -> Tensor:
        """Return the target of the denoiser."""
        ...

    def clean(self, prediction: Tensor, z: Tensor, level: NoiseLevel) -> Tensor:
        """Return the clean estimate z0^ that `prediction` at `z` implies."""
        ...

    def noise(self, prediction: Tensor, z: Tensor, level: NoiseLevel) -> Tensor:
        """Return the noise estimate e^ that `prediction` at `z` implies."""
        ...


@dataclass(frozen=True)
class EpsilonPrediction:
    """The prediction is the noise e."""

    def target(self, z0: Tensor, noise: Tensor, level: NoiseLevel) -> Tensor:  # noqa: ARG002
        return noise

    def clean(self, prediction: Tensor, z: Tensor, level: NoiseLevel) -> Tensor:
        return (z - level.noise * prediction) / level.signal

    def noise(self, prediction: Tensor, z: Tensor, level: NoiseLevel) -> Tensor:  # noqa: ARG002
        return prediction


@dataclass(frozen=True)
class SamplePrediction:
    """The prediction is the clean latent z0."""

    def target(self, z0: Tensor, noise: Tensor, level: NoiseLevel) -> Tensor:  # noqa: ARG002
        return z0

    def clean(self, prediction: Tensor, z: Tensor, level: NoiseLevel) -> Tensor:  # noqa: ARG002
        return prediction

    def noise(self, prediction: Tensor, z: Tensor, level: NoiseLevel) -> Tensor:
        return implied_noise(z, prediction, level)


@dataclass(frozen=True)
class VPrediction:
    """The prediction is the velocity v on the circle of a variance-preserving path."""

    def target(self, z0: Tensor, noise: Tensor, level: NoiseLevel) -> Tensor:
        return level.signal * noise - level.noise * z0

    def clean(self, prediction: Tensor, z: Tensor, level: NoiseLevel) -> Tensor:
        return (level.signal * z - level.noise * prediction) / (level.signal_power + level.noise_power)

    def noise(self, prediction: Tensor, z: Tensor, level: NoiseLevel) -> Tensor:
        return (level.noise * z + level.signal * prediction) / (level.signal_power + level.noise_power)


@dataclass(frozen=True)
class FlowPrediction:
    """The prediction is the velocity e - z0 on a straight path from z0 to the noise."""

    def target(self, z0: Tensor, noise: Tensor, level: NoiseLevel) -> Tensor:  # noqa: ARG002
        return noise - z0

    def clean(self, prediction: Tensor, z: Tensor, level: NoiseLevel) -> Tensor:
        return (z - level.noise * prediction) / (level.signal + level.noise)

    def noise(self, prediction: Tensor, z: Tensor, level: NoiseLevel) -> Tensor:
        return (z + level.signal * prediction) / (level.signal + level.noise)


PARAMETERIZATIONS: Registry[Parameterization] = Registry(
    "model.noise.parameterization",
    {
        "epsilon": EpsilonPrediction(),
        "sample": SamplePrediction(),
        "v_prediction": VPrediction(),
        "flow": FlowPrediction(),
    },
)


def implied_noise(z: Tensor, z0: Tensor, level: NoiseLevel) -> Tensor:
    """The noise e for which z = s z0 + n e; zero where there is none (n = 0)."""
    return (z - level.signal * z0) / level.noise.clamp_min(LEAST_NOISE)
