"""What a training step and a sampling start on their device, and that they never wait for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from counted_operations import META, CountedOperations
from tiny_models import tiny_plan

from ldseg.presets import PRESETS
from ldseg.runs.saved_model import build_segmenter
from ldseg.settings import RunSettings
from ldseg.training.budget import make_budget
from ldseg.training.ema import make_ema_copy, update_modules
from ldseg.training.train_step import TrainStep, make_optimizer

MODELS = ("none", "unet", "pixel_diffusion", "ssn", "probabilistic_unet")


def tiny_settings(baseline: Any, axes: str = "yx", **training: Any) -> RunSettings:
    settings = replace(PRESETS["default"](tiny_plan(axes)), baseline=baseline)
    return replace(settings, training=replace(settings.training, precision="fp32", steps=9, **training))


def step_on_meta(settings: RunSettings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that takes one training step on tensors without values."""
    model = build_segmenter(settings).to(META)
    step = TrainStep(model, make_ema_copy(model), make_optimizer(model, settings.training), settings, META)
    monkeypatch.setattr(step, "_generator", lambda _: None)  # no generator draws on this device
    dimensions = settings.model.spatial_dims
    x = torch.empty(2, settings.model.in_channels, *(16,) * dimensions, device=META)
    y = torch.empty(2, *(16,) * dimensions, dtype=torch.long, device=META)
    budget = make_budget(settings.training, steps_per_epoch=1)
    return lambda: step.run(x, y, budget)


@pytest.mark.parametrize("baseline", MODELS)
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("axes", ["yx", "zyx"])
def test_a_step_asks_its_device_for_no_number(
    baseline: str, optimizer: str, axes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = step_on_meta(tiny_settings(baseline, axes, optimizer=optimizer), monkeypatch)
    for _ in range(2):
        step()


def test_the_paper_preset_s_step_asks_its_device_for_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PRESETS["paper"](tiny_plan())
    settings = replace(settings, training=replace(settings.training, precision="fp32", steps=9))
    step_on_meta(settings, monkeypatch)()


def test_what_does_ask_is_found() -> None:
    with pytest.raises(RuntimeError, match="meta"):
        float(torch.empty((), device=META))


def test_optimizer_and_average_start_fewer_operations_than_there_are_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = tiny_settings("none")
    step = step_on_meta(settings, monkeypatch)
    step()
    with CountedOperations() as counted:
        step()
    updating = sum(n for name, n in counted.calls.items() if "_foreach" in name)
    weights = len(list(build_segmenter(settings).parameters()))
    assert 0 < updating < weights / 4


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "preconditioned_ddim"])
def test_a_sampling_asks_its_device_for_no_number(sampler: str, steps: int) -> None:
    model: Any = build_segmenter(tiny_settings("none")).to(META)
    logits = model.sample(torch.empty(1, 1, 16, 16, device=META), 2, steps, sampler)
    assert logits.shape == (1, 2, 3, 16, 16)


def test_averaging_the_denoiser_alone_copies_a_baseline_which_has_none() -> None:
    model = build_segmenter(tiny_settings("unet"))
    average = make_ema_copy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    update_modules(average, model, decay=0.999, modules="denoiser")
    pairs = zip(average.parameters(), model.parameters(), strict=True)
    assert all(torch.equal(kept, current) for kept, current in pairs)
