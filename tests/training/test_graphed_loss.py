"""Steps whose loss and gradient are recorded; here the recording is the work itself, on memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import tiny_plan

from ldseg.errors import InputError
from ldseg.methods.base import Losses
from ldseg.presets import PRESETS
from ldseg.runs.saved_model import build_segmenter
from ldseg.training.budget import make_budget
from ldseg.training.ema import make_ema_copy
from ldseg.training.graphed_loss import GraphedLoss, starts_graphs
from ldseg.training.train_step import TrainStep, make_optimizer

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def make_step(baseline: Any, graphed: bool, share: float) -> tuple[TrainStep, list[str]]:
    """Return a step, and a list that grows by a word for each recording and replay."""
    torch.manual_seed(0)
    settings = replace(PRESETS["default"](tiny_plan()), baseline=baseline)
    settings = replace(settings, loss=replace(settings.loss, reconstruction_share=share))
    settings = replace(settings, training=replace(settings.training, precision="fp32", steps=20))
    model = build_segmenter(settings)
    step = TrainStep(model, make_ema_copy(model), make_optimizer(model, settings.training), settings, CPU)
    seen: list[str] = []

    def capture(work: Callable[[], Losses]) -> tuple[Callable[[], None], Losses]:
        seen.append("recorded")
        losses = work()
        kept = [parameter.grad for parameter in model.parameters()]

        def replay() -> None:
            seen.append("replayed")
            again = work()
            losses.total.data.copy_(again.total)
            for old, parameter in zip(kept, model.parameters(), strict=True):
                assert (old is None) == (parameter.grad is None)
                if old is not None and parameter.grad is not None:
                    old.copy_(parameter.grad)

        return replay, losses

    if graphed:
        step.graphs = GraphedLoss(model, settings, CPU, capture)
    return step, seen


def train(step: TrainStep, steps: int) -> list[float]:
    torch.manual_seed(1)
    budget = make_budget(step.settings.training, steps_per_epoch=1)
    losses: list[float] = []
    for _ in range(steps):
        x, y = torch.randn(2, 1, 16, 16), torch.randint(0, 3, (2, 16, 16))
        with torch.random.fork_rng(devices=[]):
            losses.append(float(step.run(x, y, budget).total.detach()))
        budget.step += 1
    return losses


@pytest.mark.parametrize("baseline", ["none", "unet"])
def test_steps_by_graphs_take_the_batch_of_each_step_and_equal_steps_without(
    baseline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, graphed = (make_step(baseline, graphed, 0.5)[0] for graphed in (False, True))
    monkeypatch.setattr(plain, "_generator", lambda step: torch.manual_seed(plain._seed(step)))
    assert train(plain, 6) == pytest.approx(train(graphed, 6), rel=1e-5)
    torch.testing.assert_close(plain.model.state_dict(), graphed.model.state_dict(), rtol=1e-4, atol=1e-5)


def test_each_number_of_reconstructed_cases_is_recorded_once() -> None:
    step, seen = make_step("none", True, 0.25)
    train(step, 12)
    assert seen.count("recorded") == 2
    assert seen.count("replayed") == 12


def test_what_is_kept_of_a_recording_holds_no_graph_of_its_gradient() -> None:
    step, _ = make_step("none", True, 0.25)
    train(step, 1)
    assert step.graphs is not None
    losses = step.graphs(torch.randn(2, 1, 16, 16), torch.zeros(2, 16, 16, dtype=torch.long), 0)
    assert not losses.total.requires_grad


def test_a_step_that_cannot_be_recorded_is_told_with_what_to_choose_instead() -> None:
    step, _ = make_step("none", True, 0.25)

    def capture(work: Callable[[], Losses]) -> tuple[Callable[[], None], Losses]:
        work()
        raise RuntimeError("out of memory\nand a long story")

    assert step.graphs is not None
    step.graphs.capture = capture
    with pytest.raises(
        InputError, match=r"CUDA graph \(out of memory\); choose --training.cuda_graphs false$"
    ):
        train(step, 1)


@pytest.mark.parametrize(
    ("preset", "baseline", "wanted", "processes", "starts"),
    [
        ("default", "none", None, 1, True),
        ("default", "unet", None, 1, True),
        ("default", "none", None, 2, False),
        ("default", "none", True, 2, True),
        ("default", "none", False, 1, False),
        ("default", "ssn", None, 1, False),
        ("paper", "none", None, 1, False),
    ],
)
def test_graphs_are_started_on_a_gpu_where_they_were_tried(
    preset: str, baseline: Any, wanted: bool | None, processes: int, starts: bool
) -> None:
    settings = replace(PRESETS[preset](tiny_plan()), baseline=baseline)
    settings = replace(settings, training=replace(settings.training, cuda_graphs=wanted))
    assert starts_graphs(settings, GPU, processes) is starts
    assert starts_graphs(settings, CPU, processes) is False


@pytest.mark.parametrize("changed", ["compile", "activation_checkpointing"])
def test_graphs_are_not_started_unasked_with_what_was_not_tried_with_them(changed: str) -> None:
    settings = PRESETS["default"](tiny_plan())
    settings = replace(settings, training=replace(settings.training, **{changed: True}))
    assert starts_graphs(settings, GPU, 1) is False
    asked = replace(settings, training=replace(settings.training, cuda_graphs=True))
    assert starts_graphs(asked, GPU, 1) is True
