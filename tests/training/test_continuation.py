"""Going on with a training for longer, on data that may have changed."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_setup import write_pictures

from ldseg.api import plan_run, train_run
from ldseg.data.splits import read_splits
from ldseg.errors import InputError
from ldseg.planning.plan import read_plan, write_plan
from ldseg.runs.files import CONTINUATION_FILE
from ldseg.runs.saved_model import read_settings
from ldseg.settings import TrainingSettings
from ldseg.training import continuation
from ldseg.training.budget import make_budget
from ldseg.training.checkpoint import read_counters
from ldseg.training.log_files import read_records
from ldseg.training.train_step import TrainStep, learning_rate
from ldseg.training.trainer import TrainingResult

FIRST: dict[str, Any] = {"steps": 2, "validations": 1, "calibrate": False, "batch": 2, "warmup": 2}


def begin(data: Path, run: Path, **training: Any) -> TrainingResult:
    plan = plan_run(data, run)
    write_plan(run / "plan.json", replace(plan, widths=tuple(8 for _ in plan.widths), latent_channels=4))
    return train_run(data, run, changes={"training": {**FIRST, **training}}, device="cpu")


def go_on(data: Path, run: Path, **training: Any) -> TrainingResult:
    changes = {"training": training} if training else {}
    return train_run(data, run, changes=changes, device="cpu", continue_training=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "data", 8)
    return tmp_path / "data"


def add(data: Path, name: str) -> None:
    for part in ("images", "labels"):
        shutil.copy(next((data / part).glob("case*.png")), data / part / f"{name}.png")


def remove(data: Path, name: str) -> None:
    for part in ("images", "labels"):
        (data / part / f"{name}.png").unlink()


def change(data: Path, name: str) -> None:
    for part in ("images", "labels"):
        os.utime(data / part / f"{name}.png", (1, 1))


def interrupt(monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    """Raise KeyboardInterrupt before a step, as a kill that nothing is saved after."""
    usual = TrainStep.run

    def step(self: TrainStep, *arguments: Any) -> Any:
        if arguments[2].step == before:
            raise KeyboardInterrupt
        return usual(self, *arguments)

    monkeypatch.setattr(TrainStep, "run", step)


def begin_and_interrupt(monkeypatch: pytest.MonkeyPatch, data: Path, run: Path, **training: Any) -> None:
    """Begin a training of five steps that is killed after the third."""
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            begin(data, run, steps=5, save_minutes=0, **training)


def test_a_finished_training_goes_on_for_longer(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(data, run)
    ended = go_on(data, run, steps=3)
    assert (ended.steps, ended.already, ended.interrupted) == (5, False, False)
    assert [r["step"] for r in read_records(run) if r["event"] == "validation"] == [2, 5]
    assert read_settings(run / "settings.json").training.steps == 3
    card = (run / "card.md").read_text()
    assert "- Training: 2 steps" in card
    assert "- Continued: after step 2 for 3 steps" in card
    assert go_on(data, run, steps=1).steps == 6
    assert (run / "card.md").read_text().count("- Continued:") == 2


def test_added_removed_and_changed_cases_are_told_and_used(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(data, run)
    before = read_splits(run / "splits.json")
    gone, changed = before.folds[0].train[0], before.folds[0].train[1]
    remove(data, gone)
    change(data, changed)
    add(data, "new")
    events: list[dict[str, Any]] = []
    train_run(
        data,
        run,
        changes={"training": {"steps": 1}},
        device="cpu",
        on_event=events.append,
        continue_training=True,
    )
    (told,) = (event for event in events if event["event"] == "continued")
    expected = ["1 case added (new)", f"1 case removed ({gone})", f"1 case changed ({changed})"]
    assert told["changes"] == expected
    after = read_splits(run / "splits.json")
    for old, new in zip(before.folds, after.folds, strict=True):
        assert set(new.train) - {"new"} == set(old.train) - {gone}
        assert set(new.validation) - {"new"} == set(old.validation) - {gone}
    assert all("new" in (*fold.train, *fold.validation) for fold in after.folds)
    assert "; ".join(expected) in (run / "card.md").read_text()
    (cached,) = (run / "cache").glob(f"{changed}-*")
    assert json.loads((cached / "case.json").read_text())["files"][0][2] == 10**9
    assert not list((run / "cache").glob(f"{gone}-*"))


def test_calibration_is_fitted_anew(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    begin(data, run, calibrate=True)
    first = (run / "calibration.json").read_text()
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            go_on(data, run, steps=1)
    assert not (run / "calibration.json").exists()
    train_run(data, run, resume=True, device="cpu")
    assert (run / "calibration.json").read_text() != first


def test_an_interrupted_training_adds_what_is_left_of_its_budget(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    begin_and_interrupt(monkeypatch, data, run)
    assert go_on(data, run, steps=2).steps == 7
    with pytest.raises(InputError, match=r"has used up its budget of 4 steps; say how much longer"):
        go_on(data, run)


def test_without_a_budget_an_interrupted_training_goes_on_with_changed_data(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    begin_and_interrupt(monkeypatch, data, run)
    change(data, "case3")
    with pytest.raises(InputError, match=r"changed since the training began \(case3\).*--continue"):
        train_run(data, run, resume=True, device="cpu")
    assert go_on(data, run).steps == 5
    assert "after step 3 for the rest of 5 steps; 1 case changed (case3)" in (run / "card.md").read_text()


def test_the_best_validation_is_forgotten_within_a_budget_where_the_data_changed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    begin_and_interrupt(monkeypatch, data, run, validations=5)
    before = read_counters(run)
    assert before is not None
    assert before.best >= 0
    change(data, "case3")
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            go_on(data, run)
    assert read_counters(run) == replace(before, best=-1.0)


def test_a_case_that_was_removed_and_is_back_is_trained_on(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(data, run)
    shutil.copytree(data, tmp_path / "kept")
    gone = read_splits(run / "splits.json").folds[0].train[0]
    remove(data, gone)
    go_on(data, run, steps=1)
    shutil.copytree(tmp_path / "kept", data, dirs_exist_ok=True)
    go_on(data, run, steps=1)
    parts = read_splits(run / "splits.json").folds[0]
    assert gone in (*parts.train, *parts.validation)


@pytest.mark.parametrize("written", ["write_settings", "restart_counters", "append_record", "write_splits"])
def test_a_continuation_that_was_killed_while_it_began_is_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    for name in ("whole", "parts"):
        begin(data, tmp_path / name)
    add(data, "new")
    go_on(data, tmp_path / "whole", steps=2)
    with monkeypatch.context() as patch:

        def die(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(continuation, written, die)
        with pytest.raises(KeyboardInterrupt):
            go_on(data, tmp_path / "parts", steps=2)
    assert (tmp_path / "parts" / CONTINUATION_FILE).is_file()
    train_run(data, tmp_path / "parts", resume=True, device="cpu")
    assert not (tmp_path / "parts" / CONTINUATION_FILE).exists()
    for name in ("model.safetensors", "card.md", "settings.json", "splits.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_kill_during_the_further_budget_is_resumed_to_the_same_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("whole", "parts"):
        begin(data, tmp_path / name)
    go_on(data, tmp_path / "whole", steps=3)
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            go_on(data, tmp_path / "parts", steps=3, save_minutes=0)
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            train_run(data, tmp_path / "parts", resume=True, device="cpu")
    train_run(data, tmp_path / "parts", resume=True, device="cpu")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_the_learning_rate_warms_up_and_falls_once_more() -> None:
    settings = TrainingSettings(steps=100, warmup=10, learning_rate=1.0)
    budget = make_budget(settings, 1)
    budget.step = budget.first_step = 500
    assert budget.progress() == 0
    assert learning_rate(settings, budget.step - budget.first_step, budget.progress()) == pytest.approx(0.1)
    budget.step = 550
    assert budget.progress() == 0.5
    assert learning_rate(settings, 50, 0.5) == pytest.approx(0.5)


def test_the_best_validation_is_forgotten_where_the_data_changed(data: Path, tmp_path: Path) -> None:
    for name, changed in (("same", False), ("other", True)):
        begin(data, tmp_path / name)
        if changed:
            add(data, "new")
        counters = read_counters(tmp_path / name)
        assert counters is not None
        continuation.restart_counters(tmp_path / name, keep_best=not changed)
        restarted = read_counters(tmp_path / name)
        assert restarted is not None
        assert restarted.best == (-1.0 if changed else counters.best)
        assert (restarted.first_step, restarted.finished) == (2, False)


@pytest.mark.parametrize(
    "training, message",
    [
        ({}, "has used up its budget of 2 steps; say how much longer, e.g. --minutes 60"),
        ({"steps": 2, "minutes": 1.0}, "found steps, minutes; give exactly one"),
        ({"steps": 1, "seed": 4}, "a continued training keeps training.seed; leave that out"),
        ({"steps": 0}, "training.steps is 0; give a number above 0"),
        ({"steps": 1, "strange": 4}, "strange is not a field"),
    ],
)
def test_a_continuation_that_cannot_be_changes_nothing(
    data: Path, tmp_path: Path, training: dict[str, Any], message: str
) -> None:
    run = tmp_path / "run"
    begin(data, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=message):
        go_on(data, run, **training)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_bad_calls_are_one_line(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError, match="holds no training to continue; leave out --continue"):
        go_on(data, run, steps=1)
    assert not run.exists()
    with pytest.raises(InputError, match="--continue goes on with more; give one of them"):
        train_run(data, run, resume=True, continue_training=True)
    begin(data, run)
    for changes in ({"loss": {"dice": 2.0}}, {"baseline": "unet"}):
        with pytest.raises(InputError, match="a continued training keeps its model; leave out what sets"):
            train_run(data, run, changes=changes, continue_training=True)
    plan = read_plan(run / "plan.json")
    write_plan(run / "plan.json", replace(plan, spacing=(2.0, 2.0)))
    with pytest.raises(InputError, match=r"plan\.json: has changed since the training began"):
        go_on(data, run, steps=1)
    write_plan(run / "plan.json", plan)
    shutil.rmtree(run / "state")
    with pytest.raises(InputError, match=r"is not there any more.*with --from"):
        go_on(data, run, steps=1)


def test_data_of_other_classes_are_for_another_model(data: Path, tmp_path: Path) -> None:
    from PIL import Image

    begin(data, tmp_path / "run")
    path = data / "labels" / "case0.png"
    labels = np.asarray(Image.open(path)).copy()
    labels[0, 0] = 2
    Image.fromarray(labels).save(path)
    with pytest.raises(InputError, match=r"classes is .*; train another model from its weights, with --from"):
        go_on(data, tmp_path / "run", steps=1)
