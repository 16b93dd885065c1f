"""Calibration of probabilities, samples and volume intervals, fitted on validation cases, and the decision
that gave the better Dice there.

Temperature T: p_k^(1/T) / sum_j p_j^(1/T), softer for T > 1 (Guo et al. 2017, on log-probabilities in place
of logits, since mean probabilities of several samples have no logits). The likeliest class stays. A single
prediction is surer than the mean of samples and has a temperature of its own.

Interval scale w: [low - w mean, high + w mean], w in units of the mean volume (see
`evaluation.calibration_fit.fit_interval_scale`).

Dice loss factor f: 1 - f (1 - D) for the Dice D that samples expect. Samples agree more with each other, and
with labels that are decided from them, than with a rater.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldseg.errors import InputError
from ldseg.inference.coherence import Coherence
from ldseg.inference.decision import Decision
from ldseg.inference.posterior import VolumeEstimate
from ldseg.metrics.probabilities import FLOOR
from ldseg.runs.files import CALIBRATION_FILE, WEIGHTS_FILE
from ldseg.utils.serialization import from_json, read_versioned, to_json, write_json_atomic

VERSION = 4


@dataclass(frozen=True)
class Calibration:
    """A model's calibration; the defaults change nothing."""

    temperature: float = 1.0
    """T > 0, of the mean of several samples."""
    widening: float = 0.0
    """Interval scale w; below 0 where intervals are too wide."""
    decision: Decision = "argmax"
    """How labels follow from several samples, unless a prediction asks for another way."""
    coherence: Coherence | None = None
    """How far single samples vary together; None leaves them as they are drawn."""
    dice_loss_factor: float = 1.0
    """Dice loss of decided labels with the true ones, as a multiple of that with the samples."""
    single_temperature: float | None = None
    """T of a single prediction, which is surer than the mean of samples; None takes `temperature`."""
    cases: int | None = None
    """Number of cases that it was fitted on; None where that was not recorded."""

    def __post_init__(self) -> None:
        for name in ("temperature", "single_temperature"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; choose a value above 0, 1 changes nothing")

    def for_samples(self, samples: int) -> Calibration:
        """Return the calibration of a prediction with so many samples, whose temperature is `temperature`."""
        if samples > 1 or self.single_temperature is None:
            return self
        return replace(self, temperature=self.single_temperature, single_temperature=None)


UNCALIBRATED = Calibration()


def with_temperature(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return `probabilities` (K, *S) at another temperature, float32."""
    if temperature == 1:
        return probabilities
    powers = np.maximum(probabilities, FLOOR)  # from here on in place, for memory
    np.log(powers, out=powers)
    powers -= powers.max(0)
    powers /= temperature
    np.exp(powers, out=powers)
    powers /= powers.sum(0)
    return powers


def scale_interval(estimate: VolumeEstimate, scale: float) -> VolumeEstimate:
    """Return the estimate with its interval widened, not below 0; narrowed at most to its middle."""
    middle, step = (estimate.low + estimate.high) / 2, scale * estimate.mean
    low, high = min(estimate.low - step, middle), max(estimate.high + step, middle)
    return VolumeEstimate(estimate.mean, max(0.0, low), high)


def expected_dice(
    names: Sequence[str], losses: Sequence[float], calibration: Calibration
) -> dict[str, float]:
    """Return the Dice to expect of the labels of each structure in `names`, 0 at the least, from their mean
    Dice losses with the samples."""
    factor = calibration.dice_loss_factor
    return {name: max(0.0, 1 - factor * loss) for name, loss in zip(names, losses, strict=True)}


def store_calibration(folder: Path, calibration: Calibration) -> None:
    """Write calibration.json into a model's folder. Raises InputError when the disk refuses."""
    stored = _Stored(calibration, _weights(folder))
    write_json_atomic(folder / CALIBRATION_FILE, {"version": VERSION, **to_json(stored)})


def stored_calibration(folder: Path) -> Calibration:
    """Read the calibration in a model's folder, UNCALIBRATED where there is none.

    Raises:
        InputError: the file is damaged, newer, or was fitted on other weights than are there now.
    """
    path, remedy = folder / CALIBRATION_FILE, "remove it, or run `ldseg calibrate` again"
    if not path.exists():
        return UNCALIBRATED
    stored = from_json(_Stored, read_versioned(path, VERSION, remedy), str(path))
    if stored.weights != _weights(folder):
        raise InputError(f"{path}: was fitted on other weights than {WEIGHTS_FILE} has now; {remedy}")
    return stored.recalibration


@dataclass(frozen=True)
class _Stored:
    """The content of calibration.json."""

    recalibration: Calibration
    weights: str
    """SHA-256 of the weights that it was fitted on: a model that is trained further needs another."""


def _weights(folder: Path) -> str:
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
