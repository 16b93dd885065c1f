"""What a training announces about its time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_setup import Setup

from ldseg.app.cli.train import duration
from ldseg.preprocessing.cache import Cache
from ldseg.training import pace
from ldseg.training.budget import Budget
from ldseg.training.pace import PaceMeter, PredictionTimes, calibration_seconds, pace_event


@pytest.mark.parametrize("seconds, steps", [(0.1, 12), (1.0, 5)])
def test_the_pace_is_known_after_few_steps_and_told_once(
    monkeypatch: pytest.MonkeyPatch, seconds: float, steps: int
) -> None:
    """The first steps, which are slower, do not count."""
    now = 0.0
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    meter, found = PaceMeter(torch.device("cpu")), list[float | None]()
    for step in range(30):
        now += 9.0 if step < 2 else seconds
        found.append(meter.count())
    assert [n for n, value in enumerate(found, start=1) if value is not None] == [steps]
    assert found[steps - 1] == pytest.approx(seconds)


def test_the_whole_is_training_validation_and_calibration() -> None:
    budget = Budget(100, None, lambda: 0.0, step=20)
    event = pace_event(0.5, budget, 30.0, 7.0)
    assert (event["training_seconds"], event["seconds"]) == (40.0, 77.0)
    assert pace_event(0.5, Budget(None, 60.0, lambda: 0.0, spent=15.0), 0, 0)["seconds"] == 45.0


def test_time_left_of_a_cpu_budget_is_as_the_clock_runs() -> None:
    budget = Budget(None, 60.0, time.process_time, step=10, spent=20.0)
    assert budget.seconds_left(step_seconds=1.0) == 20.0  # two threads: two CPU seconds a second


@pytest.mark.parametrize("stochastic", [True, False])
def test_calibration_is_estimated_by_the_patches_of_its_cases(
    setup: Setup, tmp_path: Path, stochastic: bool
) -> None:
    size = setup.plan.patch[0]
    for name, height in (("a", size), ("b", 2 * size), ("c", size)):
        cache = Cache(tmp_path, (name,))
        folder = cache._case(name)  # pyright: ignore[reportPrivateUsage]
        folder.mkdir()
        np.save(folder / "image.npy", np.zeros((1, height, size), np.float16))
    times = PredictionTimes(encoding=1.0, single=0.0, posterior=10.0, stochastic=stochastic)
    found = calibration_seconds(
        Cache(tmp_path, ("a", "b", "c")), setup.plan, setup.settings, ["a", "c"], ["b", "c"], times, 0.5
    )
    flips = 2 - len(setup.plan.mirror_axes)
    drawn = 3 * (3 if stochastic else 1)  # for the coherence of samples all are predicted twice more
    assert found == drawn * (1 + 10) + (1 + 3 + 1) * (2 + flips) + (1 + 3) * 0.5


def test_a_training_announces_device_precision_and_pace(setup: Setup, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    setup.run(tmp_path / "run", steps=13, on_event=events.append)
    start, told = (next(event for event in events if event["event"] == name) for name in ("start", "pace"))
    assert start["device"].startswith("cpu (")
    assert (start["precision"] in ("fp32", "bf16"), start["batch"], start["cases"]) == (True, 2, 6)
    assert told["seconds_per_step"] > 0
    assert told["calibration_seconds"] > 0


@pytest.mark.parametrize(
    "seconds, words", [(40.4, "40 s"), (99.0, "99 s"), (720, "12 min"), (12600, "3.5 h")]
)
def test_a_duration_is_told_in_its_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words
