"""What turns a model's probabilities and volume intervals into honest ones, fitted on validation cases.

Temperature T: p_k^(1/T) / sum_j p_j^(1/T), softer for T > 1 (Guo et al. 2017, on log-probabilities in place
of logits, since mean probabilities of several samples have no logits). The likeliest class stays.

Widening w: [low - w mean, high + w mean], w in units of the mean volume (see
`evaluation.calibration_fit.fit_widening`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldseg.inference.posterior import VolumeEstimate
from ldseg.records import from_json, read_versioned, to_json, write_json_atomic

FILE = "calibration.json"
"""Its place in a model's folder."""
VERSION = 1
FLOOR = 1e-7
"""Least probability of which a logarithm is taken: the resolution of float32 next to 1."""


@dataclass(frozen=True)
class Recalibration:
    """Two numbers for a model; the defaults change nothing."""

    temperature: float = 1.0
    """T > 0."""
    widening: float = 0.0
    """w; below 0 where intervals are too wide."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}; choose a value above 0, 1 changes nothing")


def with_temperature(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """`probabilities` (K, *S) at another temperature, float32."""
    if temperature == 1:
        return probabilities
    logarithms = np.log(np.maximum(probabilities, FLOOR)) / temperature
    powers = np.exp(logarithms - logarithms.max(0))
    return (powers / powers.sum(0)).astype(np.float32)


def widened(estimate: VolumeEstimate, widening: float) -> VolumeEstimate:
    """The same estimate with its interval widened, not below 0; narrowed at most to its middle."""
    middle, step = (estimate.low + estimate.high) / 2, widening * estimate.mean
    low, high = min(estimate.low - step, middle), max(estimate.high + step, middle)
    return VolumeEstimate(estimate.mean, max(0.0, low), high)


def write_recalibration(path: Path, recalibration: Recalibration) -> None:
    """Write calibration.json. Raises InputError when the disk refuses."""
    write_json_atomic(path, {"version": VERSION, **to_json(recalibration)})


def read_recalibration(path: Path) -> Recalibration:
    """Read what `write_recalibration` wrote. Raises InputError: missing, damaged, newer, illegal values."""
    data = read_versioned(path, VERSION, "fit it again on validation cases")
    return from_json(Recalibration, data, str(path))
