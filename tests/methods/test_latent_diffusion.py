"""What holds for the latent diffusion model beside what holds for every segmenter (test_segmenters.py)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import ldseg
from ldseg.diffusion.samplers import find_sampler
from ldseg.diffusion.schedule import even_times
from ldseg.methods.latent_diffusion import LDSeg
from ldseg.methods.unet import UNet
from ldseg.planning.plan import Plan
from ldseg.presets import PRESETS
from ldseg.settings import LossSettings

PRESET_NAMES = pytest.mark.parametrize("preset", PRESETS)


def build(plan: Plan, preset: str) -> LDSeg:
    torch.manual_seed(0)
    model = LDSeg.from_settings(PRESETS[preset](plan).model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # residual branches start at zero; this makes tests see all of the network
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def batch_of(plan: Plan, cases: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(cases, len(plan.channels), *plan.patch, generator=generator)
    return x, torch.randint(0, 3, (cases, *plan.patch), generator=generator)


@PRESET_NAMES
def test_the_clean_latent_of_a_case_does_not_depend_on_its_batch(plan: Plan, preset: str) -> None:
    model = build(plan, preset)
    _, y = batch_of(plan, 3)
    torch.testing.assert_close(model.label_encoder(y)[1:2], model.label_encoder(y[1:2]), rtol=1e-4, atol=1e-4)


def test_the_linear_shortcuts_carry_each_latent_cell_by_themselves(plan: Plan) -> None:
    model = build(plan, "default")
    silent = (model.label_encoder.head, model.decoder.head)
    with torch.no_grad():
        for parameter in [p for module in silent for p in module.parameters()]:
            parameter.zero_()
    _, y = batch_of(plan)
    changed = y.clone()
    cell = (0, *(slice(factor) for factor in plan.latent_factor))
    changed[cell] = (y[cell] + 1) % 3
    moved = (model.reconstruct(changed) != model.reconstruct(y)).any(1)
    assert moved[cell].any()
    moved[cell] = False
    assert not moved.any()


def test_the_image_makes_an_answer_sharper_and_leaves_its_labels(plan: Plan) -> None:
    model = build(plan, "default")
    conditioning = model.encode_image(batch_of(plan)[0])
    z = torch.randn(2, *model.start_shape(plan.patch), generator=torch.Generator().manual_seed(3))
    before = model.decode(z, conditioning)
    alone = model.decoder(z)
    assert model.decoder.logit_scale is not None
    with torch.no_grad():
        next(model.decoder.logit_scale.head.parameters()).mul_(20)
    after = model.decode(z, conditioning)
    assert torch.equal(after.argmax(1), before.argmax(1))
    assert not torch.allclose(after, before)
    assert torch.equal(model.decoder(z), alone)


def latents(model: LDSeg, plan: Plan) -> list[Tensor]:
    """Return the deterministic prediction, and samples of one and of three steps."""
    conditioning = model.encode_image(batch_of(plan, 1)[0])
    start = torch.randn(1, *model.start_shape(plan.patch), generator=torch.Generator().manual_seed(2))
    ddim = find_sampler("ddim")
    samples = (model.sample_latent(conditioning, start, even_times(n), ddim, lambda: start) for n in (1, 3))
    return [model.predict_deterministic(conditioning, start.shape), *samples]


def test_only_the_deterministic_prediction_uses_the_deterministic_head(plan: Plan) -> None:
    model = build(plan, "default")
    before = latents(model, plan)
    assert model.deterministic_head is not None
    with torch.no_grad():
        next(model.deterministic_head.head.parameters()).add_(1.0)
    after = latents(model, plan)
    assert not torch.allclose(after[0], before[0])
    assert all(torch.equal(now, then) for now, then in zip(after[1:], before[1:], strict=True))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_model_trains_in_a_plain_loop_with_nothing_else(spatial_dims: int) -> None:
    torch.manual_seed(0)
    model = ldseg.LDSeg(spatial_dims=spatial_dims, in_channels=1, classes=2)
    x = torch.randn(2, 1, *(32,) * spatial_dims)
    y = (x[:, 0] > 0).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses: list[float] = []
    for _ in range(6):
        loss = model.loss(x, y, torch.Generator().manual_seed(0)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    logits = model.eval().sample(x, samples=3, steps=2, generator=torch.Generator().manual_seed(0))
    assert logits.shape == (2, 3, 2, *x.shape[2:])
    assert not torch.equal(logits[:, 0], logits[:, 1])
    one = model.sample(x, generator=torch.Generator().manual_seed(1))
    assert one.shape == (2, 1, 2, *x.shape[2:])


def test_the_denoiser_learns_from_the_latent_alone(plan: Plan) -> None:
    model = build(plan, "default")
    x, y = batch_of(plan)
    loss = replace(PRESETS["default"](plan).loss, latent=0.0)
    model.loss(x, y, torch.Generator().manual_seed(0), loss).total.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.denoiser.parameters())
    assert model.deterministic_head is not None
    assert any(p.grad is not None and p.grad.any() for p in model.deterministic_head.parameters())


def test_a_deterministic_head_beside_a_noise_prediction_is_refused(plan: Plan) -> None:
    settings = replace(PRESETS["paper"](plan).model, deterministic_head=True)
    with pytest.raises(
        ValueError,
        match=r"model.deterministic_head is True; choose another noise.parameterization than epsilon",
    ):
        LDSeg.from_settings(settings)


def test_the_parts_of_a_model_are_chosen_by_name_and_know_their_options(plan: Plan) -> None:
    settings = PRESETS["default"](plan).model
    wrong = replace(settings, denoiser=replace(settings.denoiser, architecture="mlp"))
    with pytest.raises(ValueError, match=r"denoiser.architecture is 'mlp'; choose one of preconditioned"):
        LDSeg.from_settings(wrong)
    unknown = replace(settings, decoder=replace(settings.decoder, options={"depth": 3}))
    with pytest.raises(ValueError, match=r"model.decoder.options is {'depth': 3}; .* has none, remove them"):
        LDSeg.from_settings(unknown)


def label_gradient(model: LDSeg, plan: Plan, loss: LossSettings) -> Tensor:
    x, y = batch_of(plan)
    model.zero_grad()
    model.loss(x, y, torch.Generator().manual_seed(0), loss).total.backward()
    return torch.cat([p.grad.flatten() for p in model.label_encoder.parameters() if p.grad is not None])


def test_the_latent_term_does_not_move_the_label_encoder_by_default(plan: Plan) -> None:
    loss = replace(PRESETS["default"](plan).loss, reconstruction_share=1.0)
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
        model.loss(x, labels, torch.Generator().manual_seed(0), settings.loss).total
        for labels in (y, changed)
    )
    assert torch.equal(first, second)
    assert torch.equal(model.label_encoder(y), model.label_encoder(changed))


def test_by_default_the_latent_tells_an_empty_mask_from_a_full_one(plan: Plan) -> None:
    model = build(plan, "default")
    empty = torch.zeros(1, *plan.patch, dtype=torch.long)
    difference = model.label_encoder(empty) - model.label_encoder(empty + 1)
    assert difference.abs().mean() > 0.05


def test_the_unet_is_the_same_without_a_latent(plan: Plan) -> None:
    settings = PRESETS["default"](plan).model
    unet, model = UNet(settings), LDSeg.from_settings(settings)
    assert sum(p.numel() for p in unet.image_encoder.parameters()) == sum(
        p.numel() for p in model.image_encoder.parameters()
    )
    x, y = batch_of(plan)
    unet.loss(x, y, settings=PRESETS["default"](plan).loss).total.backward()
    assert all(p.grad is not None for p in unet.parameters())
    assert unet.decode(torch.empty(0), unet.encode_image(x)).shape == (2, 3, *plan.patch)


def test_the_reconstruction_term_takes_its_share_of_the_cases_on_average(plan: Plan) -> None:
    model = build(plan, "default")
    x, y = batch_of(plan)
    settings = replace(PRESETS["default"](plan).loss, reconstruction_share=0.25)
    found = [
        "reconstruction" in model.loss(x, y, torch.Generator().manual_seed(seed), settings).parts
        for seed in range(40)
    ]
    assert 10 <= sum(found) <= 30  # half of the steps decode one of the two cases


def test_an_embedding_that_the_denoiser_cannot_split_is_refused(plan: Plan) -> None:
    settings = PRESETS["default"](plan).model
    wrong = replace(settings, image_encoder=replace(settings.image_encoder, embedding_channels=3))
    with pytest.raises(ValueError, match=r"image_encoder.embedding_channels is 3; the denoiser takes \d+"):
        LDSeg.from_settings(wrong)


@PRESET_NAMES
def test_samples_that_share_their_image_are_those_of_its_copies(plan: Plan, preset: str) -> None:
    model = build(plan, preset)
    one = model.encode_image(batch_of(plan, 1)[0])
    start = torch.randn(3, *model.start_shape(plan.patch), generator=torch.Generator().manual_seed(2))
    first, second = (
        model.sample_latent(conditioning, start, even_times(3), find_sampler("ddim"), lambda: torch.zeros(()))
        for conditioning in (one, one.repeat(3))
    )
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(first[0], first[1])


def test_the_denoisers_cells_hold_the_latent(plan: Plan) -> None:
    denoiser = build(plan, "default").denoiser
    z = torch.randn(2, *build(plan, "default").start_shape(plan.patch))
    assert torch.equal(denoiser.unfold(denoiser.fold(z)), z)


def test_unlabelled_cells_are_nothing_that_the_denoiser_aims_at(plan: Plan) -> None:
    """With every voxel unlabelled but one cell, the latent term is of that cell."""
    model = build(plan, "default")
    x, y = batch_of(plan)
    loss = PRESETS["default"](plan).loss

    def latent(labels: Tensor) -> float:
        return model.loss(x, labels, torch.Generator().manual_seed(0), loss).parts["latent"].item()

    assert latent(torch.full_like(y, -1)) == 0
    cell = tuple(slice(0, f) for f in model.latent_factor)
    alone = torch.full_like(y, -1)
    alone[(slice(None), *cell)] = y[(slice(None), *cell)]
    assert latent(alone) > 0
    alone[(slice(None), *(0 for _ in cell))] = -1
    assert latent(alone) == 0
