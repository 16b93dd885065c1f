"""What holds for every segmenter in the registry, model and baselines, in 2D and 3D, trained or not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ldseg.diffusion.samplers import SAMPLERS
from ldseg.methods.base import Segmenter
from ldseg.planning.plan import Plan
from ldseg.presets import PRESETS
from ldseg.runs.saved_model import SEGMENTERS, build_segmenter
from ldseg.settings import SamplingSettings

Kind = tuple[str, str]
KINDS = [(baseline, preset) for baseline in SEGMENTERS for preset in PRESETS]
EVERY = pytest.mark.parametrize("kind", KINDS, ids="-".join)
STOCHASTIC = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] != "unet"], ids="-".join)


def fresh(plan: Plan, kind: Kind) -> Segmenter:
    baseline, preset = kind
    torch.manual_seed(0)
    return build_segmenter(replace(PRESETS[preset](plan), baseline=baseline))  # type: ignore[arg-type]


def build(plan: Plan, kind: Kind) -> Segmenter:
    """Residual branches start at zero; random weights everywhere make tests see all of the network."""
    model = fresh(plan, kind)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def batch_of(plan: Plan, cases: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(cases, len(plan.channels), *plan.patch, generator=generator)
    return x, torch.randint(0, 3, (cases, *plan.patch), generator=generator)


def start_for(model: Segmenter, plan: Plan, cases: int = 2) -> Tensor:
    return torch.randn(cases, *model.start_shape(plan.patch), generator=torch.Generator().manual_seed(2))


def answer(model: Segmenter, x: Tensor, start: Tensor, steps: int = 3, sampler: str = "ddim") -> Tensor:
    with torch.inference_mode():
        conditioning = model.encode_image(x)
        z = model.predict_latent(
            conditioning, start, SamplingSettings(sampler, steps), lambda: torch.zeros_like(start)
        )
        return model.decode(z, conditioning)


@EVERY
def test_the_settings_know_whether_samples_are_drawn_in_steps(plan: Plan, kind: Kind) -> None:
    settings = replace(PRESETS[kind[1]](plan), baseline=kind[0])  # type: ignore[arg-type]
    assert settings.stepwise == build_segmenter(settings).stepwise


@EVERY
def test_logits_have_a_channel_per_class_on_the_image_grid(plan: Plan, kind: Kind) -> None:
    model = build(plan, kind)
    x, _ = batch_of(plan)
    logits = answer(model, x, start_for(model, plan))
    assert logits.shape == (2, 3, *plan.patch)
    assert logits.dtype == torch.float32


@EVERY
def test_one_call_samples_and_its_generator_alone_decides_the_noise(plan: Plan, kind: Kind) -> None:
    model = build(plan, kind)
    x, _ = batch_of(plan)
    first, same, other = (
        model.sample(x, samples=2, steps=2, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert first.shape == (2, 2, 3, *plan.patch)
    assert torch.equal(first, same)
    assert torch.equal(first, other) == (not model.stochastic)


@EVERY
def test_a_case_does_not_depend_on_its_batch(plan: Plan, kind: Kind) -> None:
    model = build(plan, kind)
    x, _ = batch_of(plan, 3)
    start = start_for(model, plan, 3)
    together = answer(model, x, start)
    alone = answer(model, x[1:2], start[1:2])
    # Read from a noise prediction near t = 1, logits in pixel space carry 400 times the rounding; the norms
    # behind many layers of the paper's networks carry ten times as much.
    tolerance = {("pixel_diffusion", "paper"): 5e-3}.get(kind, 1e-3 if kind[1] == "paper" else 1e-4)
    torch.testing.assert_close(together[1:2], alone, rtol=tolerance, atol=tolerance)


@EVERY
def test_the_answer_depends_on_the_image(plan: Plan, kind: Kind) -> None:
    model = build(plan, kind)
    x, _ = batch_of(plan)
    start = start_for(model, plan)
    assert not torch.allclose(answer(model, x, start), answer(model, x.flip(0), start), atol=1e-3)


@STOCHASTIC
def test_the_answer_depends_on_the_noise(plan: Plan, kind: Kind) -> None:
    model = build(plan, kind)
    x, _ = batch_of(plan)
    start = start_for(model, plan)
    assert not torch.allclose(answer(model, x, start), answer(model, x, start.flip(0)), atol=1e-3)


@EVERY
def test_every_module_learns_from_the_one_loss(plan: Plan, kind: Kind) -> None:
    model = build(plan, kind).train()
    x, y = batch_of(plan)
    settings = replace(PRESETS[kind[1]](plan).loss, reconstruction_share=1.0)
    model.loss(x, y, torch.Generator().manual_seed(0), settings).total.backward()
    for name, module in model.named_children():
        gradients = [p.grad.abs().sum() for p in module.parameters() if p.grad is not None]
        assert sum(gradients) > 0, name


@EVERY
def test_the_loss_falls_when_one_batch_is_learned(plan: Plan, kind: Kind) -> None:
    settings = PRESETS[kind[1]](plan)
    model = fresh(plan, kind)
    x, _ = batch_of(plan)
    y = torch.zeros(2, *plan.patch, dtype=torch.long)
    y[0, : plan.patch[0] // 2], y[1, plan.patch[0] // 2 :] = 1, 2
    x[:, 0] += y
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    seen: list[float] = []
    for step in range(16):
        losses = model.loss(x, y, torch.Generator().manual_seed(step % 2), settings.loss)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        seen.append(losses.parts["segmentation"].item())
    assert sum(seen[-4:]) < 0.9 * sum(seen[:4])


@EVERY
def test_the_loss_is_finite_without_labels_and_blind_to_the_ignored(plan: Plan, kind: Kind) -> None:
    model = build(plan, kind)
    loss = PRESETS[kind[1]](plan).loss
    x, y = batch_of(plan)
    y[:, :5] = -1
    changed = y.clone()
    changed[:, :5] = -7
    first, second, none = (
        model.loss(x, labels, torch.Generator().manual_seed(0), loss).total
        for labels in (y, changed, torch.full_like(y, -1))
    )
    assert torch.equal(first, second)
    assert torch.isfinite(none)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("baseline", ["none", "pixel_diffusion"])
def test_one_step_is_one_call_of_the_denoiser(plan: Plan, baseline: str, sampler: str) -> None:
    model = build(plan, (baseline, "default"))
    calls: list[int] = []
    model.get_submodule("denoiser").register_forward_hook(lambda *_: calls.append(1))
    x, _ = batch_of(plan)
    answer(model, x, start_for(model, plan), steps=1, sampler=sampler)
    assert len(calls) == 1


@pytest.mark.parametrize("baseline", ["none", "unet"])
def test_steps_do_not_call_the_image_encoder_again(plan: Plan, baseline: str) -> None:
    model = build(plan, (baseline, "default"))
    calls: list[int] = []
    model.get_submodule("image_encoder").register_forward_hook(lambda *_: calls.append(1))
    x, _ = batch_of(plan)
    answer(model, x, start_for(model, plan), steps=7)
    assert len(calls) == 1


@EVERY
def test_weights_saved_and_loaded_answer_the_same(plan: Plan, kind: Kind) -> None:
    model = build(plan, kind)
    other = fresh(plan, kind).eval()
    other.load_state_dict(model.state_dict())
    x, _ = batch_of(plan)
    start = start_for(model, plan)
    assert torch.equal(answer(model, x, start), answer(other, x, start))


@EVERY
def test_bf16_answers_nearly_as_fp32(plan: Plan, kind: Kind) -> None:
    model = build(plan, kind)
    x, _ = batch_of(plan)
    start = start_for(model, plan)
    exact = answer(model, x, start).softmax(1)
    with torch.autocast("cpu", torch.bfloat16):
        rough = answer(model, x, start).softmax(1)
    assert (exact - rough).abs().mean() < 0.05


@EVERY
def test_a_grid_that_does_not_divide_is_refused(plan: Plan, kind: Kind) -> None:
    model = build(plan, kind)
    with pytest.raises(ValueError, match="not a multiple"):
        model.start_shape(tuple(n + 1 for n in plan.patch))
