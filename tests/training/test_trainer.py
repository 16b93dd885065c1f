from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from training_setup import Setup

from ldseg.data.splits import Fold
from ldseg.errors import InputError
from ldseg.presets import PRESETS
from ldseg.runs.files import STATE_FILE
from ldseg.runs.saved_model import load_model
from ldseg.training.log_files import read_records
from ldseg.training.train_step import TrainStep


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def interrupt_after(monkeypatch: pytest.MonkeyPatch, step: int, number: signal.Signals) -> None:
    """Send the signal to this process while a step runs."""
    usual = TrainStep.run

    def step_and_signal(self: TrainStep, *arguments: object) -> object:
        losses = usual(self, *arguments)  # type: ignore[arg-type]
        if arguments[2].step + 1 == step:  # type: ignore[attr-defined]
            os.kill(os.getpid(), number)
        return losses

    monkeypatch.setattr(TrainStep, "run", step_and_signal)


def test_a_training_leaves_a_model_a_log_and_curves(setup: Setup, tmp_path: Path) -> None:
    result = setup.run(tmp_path / "run")
    assert (result.steps, result.interrupted) == (4, False)
    for name in ("model.safetensors", "plan.json", "settings.json", "card.md", "log.jsonl", "curves.png"):
        assert (tmp_path / "run" / name).is_file(), name
    load_model(tmp_path / "run", torch.device("cpu"))
    load_model(tmp_path / "run" / "best", torch.device("cpu"))
    validations = [r for r in read_records(tmp_path / "run") if r["event"] == "validation"]
    assert [v["step"] for v in validations] == [2, 4]
    assert all(v["ceiling"] is not None and v["latent_spread"] > 0 for v in validations)


def test_a_structure_that_only_validation_cases_have_is_warned_of(setup: Setup, tmp_path: Path) -> None:
    plan = replace(setup.plan, classes={"background": 0, "square": 1, "ring": 2})
    settings = PRESETS["default"](plan)
    settings = replace(settings, training=replace(settings.training, steps=1, validations=1))
    first, *others = setup.dataset.cases
    labels = np.asarray(Image.open(first.labels[0])).copy()
    labels[:3] = 2
    Image.fromarray(labels).save(first.labels[0])
    for train, warned in ((others, 1), ((first, *others), 0)):
        fold = Fold(tuple(case.name for case in train), (first.name,))
        told: list[dict[str, object]] = []
        dataset = replace(setup.dataset, classes=plan.classes)
        changed = replace(setup, dataset=dataset, plan=plan, settings=settings)
        changed = replace(changed, splits=replace(setup.splits, folds=(fold,)))
        changed.run(tmp_path / f"run{warned}", on_event=told.append)
        texts = [str(one["warnings"]) for one in told if one["event"] == "warning"]
        assert (
            sum("no training case has ring, which the model cannot learn" in text for text in texts) == warned
        )


def test_same_seed_same_weights_and_another_seed_others(setup: Setup, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        setup.run(tmp_path / name, seed=seed)
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    first, other = weights(tmp_path / "a"), weights(tmp_path / "c")
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_equals_uninterrupted(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    setup.run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3, number)
        stopped = setup.run(tmp_path / "parts")
    assert (stopped.steps, stopped.interrupted) == (3, True)
    ended = setup.run(tmp_path / "parts", resume=True)
    assert (ended.steps, ended.interrupted) == (4, False)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    state = STATE_FILE
    assert_same(load_file(tmp_path / "whole" / state), load_file(tmp_path / "parts" / state))
    steps = [r["step"] for r in read_records(tmp_path / "parts") if r["event"] == "validation"]
    assert steps == [2, 4]


def test_workers_do_not_change_the_result(setup: Setup, tmp_path: Path) -> None:
    setup.run(tmp_path / "none", steps=2)
    setup.run(tmp_path / "one", steps=2, workers=1)
    assert_same(weights(tmp_path / "none"), weights(tmp_path / "one"))


def test_resuming_a_finished_training_changes_nothing(setup: Setup, tmp_path: Path) -> None:
    setup.run(tmp_path / "run")
    before = weights(tmp_path / "run")
    setup.run(tmp_path / "run", resume=True)
    assert_same(before, weights(tmp_path / "run"))


def test_a_time_budget_ends_the_training(setup: Setup, tmp_path: Path) -> None:
    result = setup.run(tmp_path / "run", steps=None, cpu_minutes=0.005)
    assert result.steps >= 1
    spent = [r["seconds"] for r in read_records(tmp_path / "run") if r["event"] == "losses"]
    assert 0.3 <= spent[-1] < 10


def test_there_must_be_a_state_to_resume(setup: Setup, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training state to resume"):
        setup.run(tmp_path / "run", resume=True)


def test_a_damaged_state_is_refused(setup: Setup, tmp_path: Path) -> None:
    setup.run(tmp_path / "run", steps=1)
    path = tmp_path / "run" / STATE_FILE
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="is damaged"):
        setup.run(tmp_path / "run", resume=True)


def test_the_unet_trains_by_the_same_loop(setup: Setup, tmp_path: Path) -> None:
    baseline = replace(setup, settings=replace(setup.settings, baseline="unet"))
    baseline.run(tmp_path / "run", steps=2)
    model = load_model(tmp_path / "run", torch.device("cpu"))
    assert not model.segmenter.stochastic


def test_the_paper_preset_averages_the_denoiser_alone(setup: Setup, tmp_path: Path) -> None:
    paper = PRESETS["paper"](setup.plan)
    paper = replace(paper, training=replace(paper.training, steps=2))
    replace(setup, settings=paper).run(tmp_path / "run")
    state = load_file(tmp_path / "run" / STATE_FILE)
    names = [name.removeprefix("model.") for name in state if name.startswith("model.")]
    averaged = {n for n in names if not torch.equal(state[f"model.{n}"], state[f"average.{n}"])}
    assert {"denoiser.stem.weight", "denoiser.head.weight"} <= averaged
    assert all(name.startswith("denoiser.") for name in averaged)
