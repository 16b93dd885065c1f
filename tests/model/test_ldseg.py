"""What holds for every preset, in 2D and 3D, trained or not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ldseg.controls.unet import UNet
from ldseg.diffusion.samplers import SAMPLERS, find_sampler
from ldseg.diffusion.schedule import even_times
from ldseg.model.ldseg import LDSeg
from ldseg.model.segmenter import Segmenter
from ldseg.planning.plan import Plan
from ldseg.presets import PRESETS
from ldseg.settings import LossSettings

PRESET_NAMES = pytest.mark.parametrize("preset", PRESETS)


def shaken(model: Segmenter) -> Segmenter:
    """Residual branches start at zero; random weights everywhere make tests see all of the network."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def build(plan: Plan, preset: str) -> LDSeg:
    torch.manual_seed(0)
    model = LDSeg.from_settings(PRESETS[preset](plan).model)
    return shaken(model)  # type: ignore[return-value]


def batch_of(plan: Plan, cases: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(cases, len(plan.channels), *plan.patch, generator=generator)
    return x, torch.randint(0, 3, (cases, *plan.patch), generator=generator)


def answer(model: LDSeg, x: Tensor, start: Tensor, steps: int = 3, sampler: str = "ddim") -> Tensor:
    with torch.inference_mode():
        conditioning = model.condition(x)
        z = model.draw(
            conditioning, start, even_times(steps), find_sampler(sampler), lambda: torch.zeros_like(start)
        )
        return model.decode(z, conditioning)


def start_for(model: LDSeg, plan: Plan, cases: int = 2) -> Tensor:
    return torch.randn(cases, *model.start_shape(plan.patch), generator=torch.Generator().manual_seed(2))


@PRESET_NAMES
def test_logits_have_a_channel_per_class_on_the_image_grid(plan: Plan, preset: str) -> None:
    model = build(plan, preset)
    x, _ = batch_of(plan)
    assert answer(model, x, start_for(model, plan)).shape == (2, 3, *plan.patch)


@PRESET_NAMES
def test_a_case_does_not_depend_on_its_batch(plan: Plan, preset: str) -> None:
    model = build(plan, preset)
    x, _ = batch_of(plan, 3)
    start = start_for(model, plan, 3)
    together = answer(model, x, start)
    alone = answer(model, x[1:2], start[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


@PRESET_NAMES
def test_the_clean_latent_of_a_case_does_not_depend_on_its_batch(plan: Plan, preset: str) -> None:
    model = build(plan, preset)
    _, y = batch_of(plan, 3)
    torch.testing.assert_close(model.label_encoder(y)[1:2], model.label_encoder(y[1:2]), rtol=1e-4, atol=1e-4)


@PRESET_NAMES
def test_the_answer_depends_on_the_image_and_on_the_noise(plan: Plan, preset: str) -> None:
    model = build(plan, preset)
    x, _ = batch_of(plan)
    start = start_for(model, plan)
    usual = answer(model, x, start)
    assert not torch.allclose(usual, answer(model, x.flip(0), start), atol=1e-3)
    assert not torch.allclose(usual, answer(model, x, start.flip(0)), atol=1e-3)


@PRESET_NAMES
def test_all_four_modules_learn_from_the_one_loss(plan: Plan, preset: str) -> None:
    model = build(plan, preset).train()
    x, y = batch_of(plan)
    model.loss(x, y, PRESETS[preset](plan).loss, torch.Generator().manual_seed(0)).total.backward()
    for name, module in model.named_children():
        gradients = [p.grad.abs().sum() for p in module.parameters() if p.grad is not None]
        assert sum(gradients) > 0, name


@PRESET_NAMES
def test_the_loss_falls_when_one_batch_is_learned(plan: Plan, preset: str) -> None:
    torch.manual_seed(0)
    settings = PRESETS[preset](plan)
    model = LDSeg.from_settings(settings.model)
    x, _ = batch_of(plan)
    y = torch.zeros(2, *plan.patch, dtype=torch.long)
    y[0, : plan.patch[0] // 2], y[1, plan.patch[0] // 2 :] = 1, 2
    x[:, 0] += y
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    seen: list[float] = []
    for step in range(16):
        losses = model.loss(x, y, settings.loss, torch.Generator().manual_seed(step % 2))
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
        seen.append(losses.parts["segmentation"].item())
    assert sum(seen[-4:]) < 0.9 * sum(seen[:4])


def label_gradient(model: LDSeg, plan: Plan, loss: LossSettings) -> Tensor:
    x, y = batch_of(plan)
    model.zero_grad()
    model.loss(x, y, loss, torch.Generator().manual_seed(0)).total.backward()
    return torch.cat([p.grad.flatten() for p in model.label_encoder.parameters() if p.grad is not None])


def test_the_latent_term_does_not_move_the_label_encoder_by_default(plan: Plan) -> None:
    loss = PRESETS["default"](plan).loss
    model = build(plan, "default")
    without = label_gradient(model, plan, replace(loss, latent=0.0))
    torch.testing.assert_close(label_gradient(model, plan, replace(loss, latent=9.0)), without)
    free = replace(loss, latent=9.0, stop_latent_gradient=False)
    assert not torch.allclose(label_gradient(model, plan, free), without)


def test_a_label_encoder_that_would_learn_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"loss.reconstruction is 0.0; choose a weight above 0"):
        LossSettings(reconstruction=0.0)


def test_ignored_voxels_change_neither_loss_nor_latent(plan: Plan) -> None:
    settings = PRESETS["default"](plan)
    model = build(plan, "default")
    x, y = batch_of(plan)
    y[:, :5] = -1
    changed = y.clone()
    changed[:, :5] = -7
    first, second = (
        model.loss(x, labels, settings.loss, torch.Generator().manual_seed(0)).total
        for labels in (y, changed)
    )
    assert torch.equal(first, second)
    assert torch.equal(model.label_encoder(y), model.label_encoder(changed))


def test_a_wholly_unlabelled_case_gives_a_finite_loss(plan: Plan) -> None:
    model = build(plan, "default")
    x, y = batch_of(plan)
    losses = model.loss(x, torch.full_like(y, -1), PRESETS["default"](plan).loss)
    assert torch.isfinite(losses.total)


def test_by_default_the_latent_tells_an_empty_mask_from_a_full_one(plan: Plan) -> None:
    model = build(plan, "default")
    empty = torch.zeros(1, *plan.patch, dtype=torch.long)
    difference = model.label_encoder(empty) - model.label_encoder(empty + 1)
    assert difference.abs().mean() > 0.05


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_step_is_one_call_of_the_denoiser(plan: Plan, sampler: str) -> None:
    model = build(plan, "default")
    calls: list[int] = []
    model.denoiser.register_forward_hook(lambda *_: calls.append(1))
    x, _ = batch_of(plan)
    answer(model, x, start_for(model, plan), steps=1, sampler=sampler)
    assert len(calls) == 1


def test_steps_do_not_call_the_image_encoder_again(plan: Plan) -> None:
    model = build(plan, "default")
    calls: list[int] = []
    model.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    x, _ = batch_of(plan)
    answer(model, x, start_for(model, plan), steps=7)
    assert len(calls) == 1


@PRESET_NAMES
def test_weights_saved_and_loaded_answer_the_same(plan: Plan, preset: str) -> None:
    model = build(plan, preset)
    other = LDSeg.from_settings(PRESETS[preset](plan).model).eval()
    other.load_state_dict(model.state_dict())
    x, _ = batch_of(plan)
    start = start_for(model, plan)
    assert torch.equal(answer(model, x, start), answer(other, x, start))


@PRESET_NAMES
def test_bf16_answers_nearly_as_fp32(plan: Plan, preset: str) -> None:
    model = build(plan, preset)
    x, _ = batch_of(plan)
    start = start_for(model, plan)
    exact = answer(model, x, start).softmax(1)
    with torch.autocast("cpu", torch.bfloat16):
        rough = answer(model, x, start).softmax(1)
    assert (exact - rough).abs().mean() < 0.05


def test_a_grid_that_does_not_divide_is_refused(plan: Plan) -> None:
    model = build(plan, "default")
    with pytest.raises(ValueError, match="not a multiple"):
        model.start_shape(tuple(n + 1 for n in plan.patch))


def test_the_unet_is_the_same_without_a_latent(plan: Plan) -> None:
    settings = PRESETS["default"](plan).model
    unet, model = UNet(settings), LDSeg(settings)
    assert sum(p.numel() for p in unet.image_encoder.parameters()) == sum(
        p.numel() for p in model.image_encoder.parameters()
    )
    x, y = batch_of(plan)
    unet.loss(x, y, PRESETS["default"](plan).loss).total.backward()
    assert all(p.grad is not None for p in unet.parameters())
    assert unet.decode(torch.empty(0), unet.condition(x)).shape == (2, 3, *plan.patch)
