"""What the denoiser predicts, and how its prediction is read as a clean latent.

noise: e (Ho et al. 2020); clean: z0; velocity: v = sqrt(a) e - sqrt(1 - a) z0 (Salimans & Ho 2022,
section 4).
`a` is the signal power, expanded to the shape of the latent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

LEAST_NOISE = 1e-4
"""Share that a latent is taken to have of it, at least, where it is divided by."""


class Parameterization(Protocol):
    """Target of the denoiser and its reading."""

    def target(self, z0: Tensor, noise: Tensor, a: Tensor) -> Tensor:
        """Return the target of the denoiser."""
        ...

    def clean(self, prediction: Tensor, z: Tensor, a: Tensor) -> Tensor:
        """Return the clean estimate z0^ that `prediction` at `z` implies."""
        ...


@dataclass(frozen=True)
class EpsilonPrediction:
    """The prediction is the noise e."""

    def target(self, z0: Tensor, noise: Tensor, a: Tensor) -> Tensor:  # noqa: ARG002
        return noise

    def clean(self, prediction: Tensor, z: Tensor, a: Tensor) -> Tensor:
        return (z - (1 - a).sqrt() * prediction) / a.sqrt()


@dataclass(frozen=True)
class SamplePrediction:
    """The prediction is the clean latent z0."""

    def target(self, z0: Tensor, noise: Tensor, a: Tensor) -> Tensor:  # noqa: ARG002
        return z0

    def clean(self, prediction: Tensor, z: Tensor, a: Tensor) -> Tensor:  # noqa: ARG002
        return prediction


@dataclass(frozen=True)
class VPrediction:
    """The prediction is the velocity v."""

    def target(self, z0: Tensor, noise: Tensor, a: Tensor) -> Tensor:
        return a.sqrt() * noise - (1 - a).sqrt() * z0

    def clean(self, prediction: Tensor, z: Tensor, a: Tensor) -> Tensor:
        return a.sqrt() * z - (1 - a).sqrt() * prediction


PARAMETERIZATIONS: dict[str, Parameterization] = {
    "epsilon": EpsilonPrediction(),
    "sample": SamplePrediction(),
    "v_prediction": VPrediction(),
}


def implied_noise(z: Tensor, z0: Tensor, a: Tensor) -> Tensor:
    """The noise e for which z = sqrt(a) z0 + sqrt(1 - a) e; zero where there is none (a = 1)."""
    return (z - a.sqrt() * z0) / (1 - a).sqrt().clamp_min(LEAST_NOISE)
