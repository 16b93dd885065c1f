"""When validation has stopped improving, and what training does then."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from training_setup import Setup

from ldseg.errors import InputError
from ldseg.settings import TrainingSettings
from ldseg.training import trainer
from ldseg.training.budget import make_budget
from ldseg.training.budget_settings import describe_budget, with_default_budget
from ldseg.training.flatness import GROWTH, is_flat, recent_gain
from ldseg.training.log_files import read_records
from ldseg.training.run_settings import check_training
from ldseg.training.train_step import TrainStep, learning_rate
from ldseg.training.validation import Validation


def curve(*dice: float) -> list[dict[str, Any]]:
    return [{"dice": value, "class_dice": [value, value]} for value in dice]


def first_flat(dice: list[float]) -> int | None:
    """The number of validations at which a curve is flat."""
    return next((n for n in range(1, len(dice) + 1) if is_flat(curve(*dice[:n]))), None)


def test_fewer_than_six_validations_say_nothing() -> None:
    assert recent_gain(curve(0.8, 0.8, 0.8, 0.8, 0.8)) is None
    assert not is_flat(curve(0.8, 0.8, 0.8, 0.8, 0.8))
    assert is_flat(curve(0.8, 0.8, 0.8, 0.8, 0.8, 0.8))


def test_a_curve_that_rises_with_every_doubling_is_not_flat() -> None:
    steps = [50 * GROWTH**n for n in range(30)]
    assert first_flat([0.5 + 0.01 * math.log2(step / 50) for step in steps]) is None
    saturating = [0.9 - 0.3 * math.exp(-step / 500) for step in steps]
    found = first_flat(saturating)
    assert found is not None
    assert 0.9 - saturating[found - 1] < 0.001
    assert 1000 < steps[found - 1] < 10000


def test_single_validations_that_are_off_end_no_training() -> None:
    rising = [0.6 + 0.01 * n for n in range(12)]
    rising[6] -= 0.02
    assert first_flat(rising) is None


def test_a_falling_curve_is_flat() -> None:
    assert is_flat(curve(0.9, 0.9, 0.9, 0.88, 0.87, 0.86))


def test_nothing_found_yet_and_a_structure_being_found_are_not_flat() -> None:
    assert not is_flat(curve(*[0.0] * 9))
    records = [{"dice": 0.5, "class_dice": [0.9 - 0.01 * n, 0.1 + 0.01 * n]} for n in range(6)]
    assert not is_flat(records)


def test_the_learning_rate_is_constant_until_flat_and_falls_then() -> None:
    settings = TrainingSettings(steps=1000, until_flat=True, warmup=1, learning_rate=1.0)
    budget = make_budget(settings, 1)

    def rate(step: int) -> float:
        budget.step = step
        return learning_rate(settings, step, budget.progress())

    assert [rate(step) for step in (1, 500, 800)] == [1.0, 1.0, pytest.approx(1.0)]
    assert rate(900) == pytest.approx(0.5)
    budget.step = 400
    budget.flat_at = budget.used
    assert budget.limit == 500
    assert rate(400) == pytest.approx(1.0)
    assert rate(450) == pytest.approx(0.5)
    assert rate(500) == pytest.approx(0.01)
    assert budget.progress() == 1


def test_without_a_budget_the_limit_is_a_day() -> None:
    assert describe_budget(with_default_budget(TrainingSettings())) == "60 minutes"
    until_flat = with_default_budget(TrainingSettings(until_flat=True))
    assert describe_budget(until_flat) == "until validation is flat, at most 1440 minutes"


def test_training_ends_a_quarter_after_validation_is_flat_also_when_resumed(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Validation(0.8, (0.8,), None, None, None)
    monkeypatch.setattr(trainer, "FIRST_VALIDATION", 2)
    monkeypatch.setattr(trainer, "validate", lambda *_: found)
    events: list[dict[str, Any]] = []
    options = {"until_flat": True, "steps": 100, "save_minutes": 0.0}
    ended = setup.run(tmp_path / "whole", on_event=events.append, **options)
    flat = next(event for event in events if event["event"] == "flat")
    assert ended.steps == math.ceil(flat["step"] * 1.25) < 20
    assert [event["flat"] for event in events if event["event"] == "gain"] == [True]
    usual = TrainStep.run

    def die(self: TrainStep, *arguments: Any) -> Any:
        if arguments[2].step == flat["step"] + 1:
            raise KeyboardInterrupt
        return usual(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "run", die)
        with pytest.raises(KeyboardInterrupt):
            setup.run(tmp_path / "parts", **options)
    assert setup.run(tmp_path / "parts", resume=True, **options).steps == ended.steps
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
    logged = [
        one["event"] for one in read_records(tmp_path / "parts") if one["event"] in ("flat", "validation")
    ]
    assert logged.count("flat") == 1


def test_a_training_says_at_its_end_whether_longer_might_gain(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = iter([0.1, 0.2, 0.3, 0.4, 0.5, 0.6] * 2)
    monkeypatch.setattr(
        trainer, "validate", lambda *_: replace(Validation(0, (0.5,), None, None, None), dice=next(dice))
    )
    events: list[dict[str, Any]] = []
    setup.run(tmp_path / "begun", steps=6, validations=6, on_event=events.append)
    assert not [event for event in events if event["event"] == "gain"]
    monkeypatch.setattr(trainer, "FIRST_VALIDATION", 2)
    setup.run(tmp_path / "run", steps=6, validations=6, on_event=events.append)
    assert events[-1]["event"] == "gain"
    assert (events[-1]["gain"], events[-1]["flat"]) == (pytest.approx(0.3), False)


def test_training_cases_do_not_say_whether_longer_might_gain(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "FIRST_VALIDATION", 2)
    monkeypatch.setattr(trainer, "validate", lambda *_: Validation(0.5, (0.5,), None, None, None))
    events: list[dict[str, Any]] = []
    setup.run(tmp_path / "run", steps=6, validations=6, fold="all", on_event=events.append)
    assert not [event for event in events if event["event"] == "gain"]


def test_an_end_by_validation_needs_cases_that_are_not_trained_on() -> None:
    with pytest.raises(InputError, match="--until-flat needs validation cases"):
        check_training(None, {"training": {"until_flat": True, "fold": "all"}})
