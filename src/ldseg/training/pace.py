"""How long will it take? Seconds of a step, and an estimate of the whole, calibration included.

The pace is measured on the first steps of a session. What follows the training is estimated from one patch
that is segmented as calibration does, times the patches of the cases.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor

from ldseg.data.splits import evenly_spaced
from ldseg.methods.base import Segmenter
from ldseg.planning.plan import Plan
from ldseg.preprocessing.cache import Cache
from ldseg.settings import RunSettings, SamplingSettings
from ldseg.training.budget import Budget
from ldseg.utils.device import autocast, memory_format, precision_of, synchronize

_SKIPPED, _FEWEST, _MOST, _LONG = 2, 3, 10, 2.0
"""Steps before the measurement, fewest and most steps of it, seconds after which the fewest are enough."""
CALIBRATION_CASES = 24
"""Most cases on which the confidence is fitted after training."""
COHERENCE_CASES = 12
"""Most of these on which the coherence of samples is fitted, each predicted twice more."""
_DETECTOR_CASES, _DETECTOR_TILES = 512, 1024
"""Most images and patches that the out-of-distribution detector is fitted on."""


class PaceMeter:
    """Measures the seconds of a step, data loading included, on the first steps of a session."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._steps, self._started, self._done = 0, 0.0, False

    def count(self) -> float | None:
        """Count a step that has ended; return the seconds of a step once, when they are known."""
        self._steps += 1
        measured = self._steps - _SKIPPED
        if self._done or measured < 0:
            return None
        if measured == 0:
            synchronize(self._device)
            self._started = time.monotonic()
            return None
        long = measured >= _FEWEST and time.monotonic() - self._started > _LONG
        if not long and measured < _MOST:
            return None
        synchronize(self._device)
        self._done = True
        return (time.monotonic() - self._started) / measured


@dataclass(frozen=True)
class PredictionTimes:
    """Seconds to segment one patch."""

    encoding: float
    single: float
    """Of one prediction from an encoded image."""
    posterior: float
    """Of all samples that calibration draws, from an encoded image."""
    stochastic: bool = True
    """Whether there are samples whose coherence is fitted."""


@torch.inference_mode()
def time_prediction(
    model: Segmenter, x: Tensor, settings: RunSettings, device: torch.device
) -> PredictionTimes:
    """Return the seconds to segment a patch x (M, *patch) on the device."""
    x = x[None].to(device).contiguous(memory_format=memory_format(settings.model.spatial_dims))
    posterior = settings.sampling_of(samples=settings.posterior.samples, stochastic=model.stochastic)
    generator = torch.Generator().manual_seed(0)
    shape = (1, *model.start_shape(tuple(x.shape[2:])))

    def noise() -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    def predict(sampling: SamplingSettings) -> None:
        model.decode(model.predict_latent(conditioning, noise(), sampling, noise), conditioning)

    seconds: list[float] = []
    with autocast(device, settings.training.precision):
        conditioning = model.encode_image(x)  # once in vain: the first call is slower
        for work in (
            lambda: model.encode_image(x),
            lambda: predict(settings.sampling),
            lambda: predict(posterior),
        ):
            synchronize(device)
            started = time.monotonic()
            work()
            synchronize(device)
            seconds.append(time.monotonic() - started)
    samples = settings.posterior.samples if model.stochastic else 1
    return PredictionTimes(seconds[0], seconds[1], samples * seconds[2], model.stochastic)


def calibration_seconds(
    cache: Cache,
    plan: Plan,
    settings: RunSettings,
    train_names: Sequence[str],
    validation_names: Sequence[str],
    times: PredictionTimes,
    case_seconds: float,
) -> float:
    """Return an estimate of the seconds that calibrating the trained model takes; 0 if it is not to be.

    `case_seconds` is the time to read and preprocess a case, as far as it is known.
    """
    if not settings.training.calibrate:
        return 0.0
    unseen = evenly_spaced(sorted(set(validation_names) - set(train_names)), CALIBRATION_CASES)
    every = evenly_spaced(sorted({*train_names, *validation_names}), _DETECTOR_CASES)
    variants = (
        2 + sum(name != "t" for name in plan.axes) - len(settings.augment.flipped_axes(plan.mirror_axes))
    )
    again = evenly_spaced(unseen, COHERENCE_CASES) * (2 if times.stochastic else 0)
    drawn = sum(_patches(cache.shape(name), plan.patch) for name in (*unseen, *again))
    encoded = min(_DETECTOR_TILES, sum(_patches(cache.shape(name), plan.patch) for name in every))
    prepared = (len(unseen) + len(every)) * case_seconds
    return prepared + drawn * (times.encoding + times.posterior) + encoded * variants * times.encoding


def _patches(shape: Sequence[int], patch: Sequence[int]) -> int:
    """Return about how many patches cover an image, each overlapping the next by half."""
    return prod(max(1, ceil(2 * n / p) - 1) for n, p in zip(shape, patch, strict=True))


def start_event(
    device: torch.device, settings: RunSettings, cases: int, preparation_seconds: float
) -> dict[str, Any]:
    """Return the event that announces where and how precisely the training computes."""
    on_gpu = device.type == "cuda"
    threads = torch.get_num_threads()
    on_cores = "1 thread" if threads == 1 else f"{threads} threads"
    name = torch.cuda.get_device_name(device) if on_gpu else on_cores
    return {
        "event": "start",
        "device": f"{device} ({name})",
        "precision": precision_of(device, settings.training.precision),
        "batch": settings.training.batch,
        "cases": cases,
        "preparation_seconds": preparation_seconds,
    }


def pace_event(
    step_seconds: float, budget: Budget, validation_seconds: float, calibration: float
) -> dict[str, Any]:
    """Return the event that announces the pace; `validation_seconds` are of all validations to come."""
    left = budget.seconds_left(step_seconds)
    return {
        "event": "pace",
        "seconds_per_step": step_seconds,
        "training_seconds": left,
        "validation_seconds": validation_seconds,
        "calibration_seconds": calibration,
        "seconds": left + validation_seconds + calibration,
    }
