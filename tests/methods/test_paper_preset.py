"""The paper's preset: loss, training and data as published."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ldseg.diffusion.samplers.renormalized import normalize
from ldseg.methods.latent_diffusion import LDSeg
from ldseg.methods.losses import cross_entropy, joint_dice_loss
from ldseg.networks.label_encoders.base import one_hot
from ldseg.planning.plan import Plan
from ldseg.presets import PRESETS
from ldseg.settings import ModelSettings
from ldseg.training.train_step import learning_rate, make_optimizer
from ldseg.utils.device import memory_format


def build(plan: Plan) -> LDSeg:
    torch.manual_seed(0)
    return LDSeg.from_settings(PRESETS["paper"](plan).model)


def batch_of(plan: Plan, cases: int = 4) -> tuple[Tensor, Tensor]:
    x = torch.rand(cases, len(plan.channels), *plan.patch)
    return x, torch.randint(0, 3, (cases, *plan.patch))


def test_the_latent_has_one_channel_at_a_sixteenth(plan: Plan) -> None:
    large = replace(plan, patch=(64,) * plan.dimensions)
    model = build(large)
    assert model.latent_factor == (16,) * plan.dimensions
    assert model.start_shape(large.patch) == (1, *(4,) * plan.dimensions)
    assert model.image_encoder(torch.rand(1, 2, *large.patch)).embedding.shape == (
        1,
        1,
        *(4,) * plan.dimensions,
    )


def test_it_can_be_laid_out_channels_last(plan: Plan) -> None:
    model = build(plan).eval()
    x, y = batch_of(plan, 2)
    z = model.label_encoder(y)
    layout = memory_format(plan.dimensions)
    model.to(memory_format=layout)  # type: ignore[call-overload]
    torch.testing.assert_close(model.label_encoder(y), z, rtol=1e-3, atol=1e-3)
    assert model.encode_image(x.contiguous(memory_format=layout)).embedding.shape == z.shape


def test_other_grids_than_the_trained_one_are_refused(plan: Plan) -> None:
    model = build(plan)
    smaller = tuple(n // 2 for n in plan.patch)
    with pytest.raises(ValueError, match="is not a multiple of"):
        model.start_shape(smaller)


def test_dice_is_one_ratio_over_batch_and_classes() -> None:
    torch.manual_seed(0)
    logits, y = torch.randn(3, 4, 8, 8), torch.randint(0, 4, (3, 8, 8))
    truth, p = one_hot(y, 4), logits.softmax(1)
    wanted = 1 - 2 * (truth * p).sum() / (truth.sum() + p.sum() + 1e-6)
    torch.testing.assert_close(joint_dice_loss(logits, y), wanted)


def test_ignored_voxels_do_not_count_in_dice() -> None:
    torch.manual_seed(0)
    logits, y = torch.randn(2, 3, 4, 8), torch.randint(0, 3, (2, 4, 8))
    padded = torch.cat([logits, torch.randn(2, 3, 4, 8)], 2)
    ignored = torch.cat([y, torch.full_like(y, -1)], 1)
    torch.testing.assert_close(joint_dice_loss(padded, ignored), joint_dice_loss(logits, y))


def test_the_loss_is_that_of_the_latent_minus_the_predicted_noise(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, settings = build(plan).eval(), PRESETS["paper"](plan).loss
    x, y = batch_of(plan)
    seen: dict[str, Tensor] = {}
    predict, decode = model.denoiser.predict_for_loss, model.decoder.forward

    def predict_and_keep(*given: Tensor) -> tuple[Tensor, Tensor]:
        seen["z"] = given[0]
        seen["noise"], decodable = predict(*given)  # type: ignore[arg-type]
        return seen["noise"], decodable

    def decode_and_keep(z: Tensor, *given: object) -> Tensor:
        del given
        seen["decoded"], seen["logits"] = z, decode(z)
        return seen["logits"]

    monkeypatch.setattr(model.denoiser, "predict_for_loss", predict_and_keep)
    monkeypatch.setattr(model.decoder, "forward", decode_and_keep)
    losses = model.loss(x, y, torch.Generator().manual_seed(0), settings)
    torch.testing.assert_close(seen["decoded"], seen["z"] - seen["noise"])
    segmentation = cross_entropy(seen["logits"], y) + 2 * joint_dice_loss(seen["logits"], y)
    torch.testing.assert_close(losses.parts["segmentation"], segmentation)
    torch.testing.assert_close(losses.total, segmentation + losses.parts["latent"])
    assert set(losses.parts) == {"segmentation", "latent"}


def test_the_latent_term_is_the_squared_error_of_the_noise_and_reaches_the_label_encoder(plan: Plan) -> None:
    model, settings = build(plan), PRESETS["paper"](plan).loss
    x, y = batch_of(plan)
    losses = model.loss(x, y, torch.Generator().manual_seed(0), settings)
    # e^ is near its Glorot start: its error is about the noise's own variance and its own power.
    assert losses.parts["latent"] > 0.5
    losses.total.backward()
    assert any(p.grad is not None and p.grad.any() for p in model.label_encoder.parameters())


def test_the_sampled_latent_is_normalized(plan: Plan) -> None:
    model = build(plan).eval()
    conditioning = model.encode_image(batch_of(plan, 2)[0])
    start = 3 + torch.randn(2, *model.start_shape(plan.patch))
    sampling = PRESETS["paper"](plan).sampling
    assert (sampling.sampler, sampling.steps) == ("ddim", 15)
    z = model.predict_latent(conditioning, start, sampling, lambda: start)
    torch.testing.assert_close(z, normalize(z), rtol=1e-3, atol=1e-3)


def test_training_is_adam_at_a_constant_rate_without_clipping(plan: Plan) -> None:
    training = PRESETS["paper"](plan).training
    optimizer = make_optimizer(build(plan), training)
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.defaults["eps"] == 1e-7
    assert {learning_rate(training, step, step / 100) for step in (0, 1, 50, 99)} == {1e-3}
    assert training.gradient_clip is None
    assert (training.batch, training.ema, training.ema_warmup) == (4, 0.999, False)


def test_flips_are_the_only_augmentation(plan: Plan) -> None:
    augment = PRESETS["paper"](replace(plan, mirror_axes=(1,))).augment
    assert augment.mirror_axes == ((0, 1) if plan.dimensions == 2 else ())
    assert PRESETS["paper"](replace(plan, mirror_axes=())).augment.mirror_axes == ()  # structures have sides
    assert not any(getattr(augment, name) for name in vars(augment) if name.endswith("_probability"))


@pytest.mark.parametrize(
    "section, changes, message",
    [
        ("label_encoder", {"blocks": 2}, "model.label_encoder.blocks is 2; architecture paper has none"),
        ("decoder", {"image_features": True}, "label decoder paper has none of them"),
        ("image_encoder", {"context_stages": 1}, "no stages below the latent grid"),
        ("denoiser", {"options": {"depth": 2}}, "model.denoiser.options is {'depth': 2}"),
    ],
)
def test_settings_that_a_published_network_does_not_have_are_refused(
    plan: Plan, section: str, changes: dict[str, object], message: str
) -> None:
    settings: ModelSettings = PRESETS["paper"](plan).model
    part = replace(getattr(settings, section), **changes)
    with pytest.raises(ValueError, match=message):
        LDSeg.from_settings(replace(settings, **{section: part}))


def test_a_model_that_takes_labels_of_one_size_must_know_it(plan: Plan) -> None:
    with pytest.raises(ValueError, match="takes labels of one size, give that size"):
        LDSeg.from_settings(replace(PRESETS["paper"](plan).model, patch=None))
