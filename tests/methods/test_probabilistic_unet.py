"""The probabilistic U-Net: its prior and posterior, the bound it is trained by."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from ldseg.methods.probabilistic_unet import BETA, NUMBERS, DiagonalNormal, NormalEncoder, ProbabilisticUNet
from ldseg.methods.unet import UNet
from ldseg.networks.image_encoders.base import Conditioning
from ldseg.networks.label_encoders.base import one_hot
from ldseg.planning.plan import Plan
from ldseg.presets import PRESETS, default_model
from ldseg.settings import LossSettings, StagesSettings

CASES = 2
CROSS_ENTROPY = LossSettings(dice=0.0)


def build(plan: Plan) -> ProbabilisticUNet:
    """Residual branches start at zero; random weights everywhere make tests see all of the network."""
    torch.manual_seed(0)
    model = ProbabilisticUNet(PRESETS["default"](plan).model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model.eval()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(plan: Plan) -> tuple[Tensor, Tensor]:
    generator = seeded(1)
    x = torch.randn(CASES, len(plan.channels), *plan.patch, generator=generator)
    return x, torch.randint(0, 3, (CASES, *plan.patch), generator=generator)


def tiny_normals() -> tuple[DiagonalNormal, DiagonalNormal]:
    values = torch.randn(4, CASES, NUMBERS, generator=seeded())
    return DiagonalNormal(values[0], values[1]), DiagonalNormal(values[2], values[3])


def moved(conditioning: Conditioning, mean: Tensor, log_deviation: Tensor) -> Conditioning:
    """Encoded images whose prior is moved by (B, N) numbers."""
    change = torch.cat([mean, log_deviation], 1)
    embedding = conditioning.embedding.clone()
    embedding[:, -2 * NUMBERS :] += change.reshape(*change.shape, *[1] * (embedding.ndim - 2))
    return replace(conditioning, embedding=embedding)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_divergence_is_that_of_torchs_normals() -> None:
    one, other = tiny_normals()
    first, second = (Normal(found.mean, found.log_deviation.exp()) for found in (one, other))
    torch.testing.assert_close(one.divergence(other), kl_divergence(first, second).sum(1))


def test_samples_have_the_mean_and_deviation_of_the_distribution() -> None:
    one, _ = tiny_normals()
    drawn = one.sample(torch.randn(20_000, 1, NUMBERS, generator=seeded()))
    deviation = one.log_deviation.exp()
    assert ((drawn.mean(0) - one.mean).abs() < 0.05 * deviation).all()
    torch.testing.assert_close(drawn.std(0), deviation, rtol=0.05, atol=0)


def test_no_deviation_is_so_small_that_a_divergence_overflows() -> None:
    network = NormalEncoder(2, 1, StagesSettings((8,), ((1, 1),)))
    nn.init.constant_(network.head.bias, -1e4)
    found = network(torch.randn(1, 1, 8, 8))
    wide = DiagonalNormal(torch.zeros_like(found.mean), -found.log_deviation)
    assert torch.isfinite(wide.divergence(found)).all()


def test_the_deterministic_prediction_is_that_of_the_priors_mean(plan: Plan) -> None:
    model = build(plan)
    x, _ = batch_of(plan)
    shape = (CASES, *model.start_shape(plan.patch))
    change = torch.randn(CASES, NUMBERS, generator=seeded())
    with torch.no_grad():
        encoded = model.encode_image(x)
        z = model.predict_deterministic(encoded, shape)
        found, of_another_deviation, of_another_mean = (
            model.decode(z, one)
            for one in (encoded, moved(encoded, 0 * change, change), moved(encoded, change, 0 * change))
        )
    assert torch.equal(found, of_another_deviation)
    assert not torch.allclose(found, of_another_mean, atol=1e-3)


def test_a_sample_lies_so_many_deviations_from_the_priors_mean(plan: Plan) -> None:
    model = build(plan)
    x, _ = batch_of(plan)
    noise = torch.randn(CASES, NUMBERS, generator=seeded())
    z = noise.reshape(*noise.shape, *[1] * len(plan.patch))
    with torch.no_grad():
        encoded = model.encode_image(x)
        distance = model.distribution(encoded).log_deviation.exp() * noise
        found = model.decode(z, encoded)
        wanted = model.decode(0 * z, moved(encoded, distance, 0 * distance))
    torch.testing.assert_close(found, wanted)


def test_the_divergence_weighs_ten_nats_against_the_sum_over_labelled_voxels(plan: Plan) -> None:
    x, y = batch_of(plan)
    y[:, :3] = -1
    losses = build(plan).loss(x, y, seeded(), CROSS_ENTROPY)
    summed = losses.parts["segmentation"] * (y >= 0).sum() + BETA * CASES * losses.parts["divergence"]
    assert losses.parts["divergence"] > 0
    torch.testing.assert_close(losses.total.detach(), summed / (y >= 0).sum())


def test_a_case_without_labels_has_no_part_in_the_loss(plan: Plan) -> None:
    model = build(plan)
    x, y = batch_of(plan)
    y[1] = -1
    both = model.loss(x, y, seeded(), CROSS_ENTROPY).total
    torch.testing.assert_close(both, model.loss(x[:1], y[:1], seeded(), CROSS_ENTROPY).total)


def test_the_posterior_does_not_see_what_is_ignored(plan: Plan) -> None:
    seen: list[Tensor] = []
    model = build(plan)
    model.posterior.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    x, y = batch_of(plan)
    y[:, 0] = -1
    model.loss(x, y, seeded(), CROSS_ENTROPY)
    labels = seen[0][:, len(plan.channels) :]
    assert torch.equal(labels[:, :, 0], torch.zeros_like(labels[:, :, 0]))
    assert torch.equal(labels[:, :, 1:].sum(1), torch.ones_like(labels[:, 0, 1:]))


def test_the_weight_of_the_cross_entropy_is_that_of_the_bound(plan: Plan) -> None:
    model = build(plan)
    x, y = batch_of(plan)
    once, twice = (
        model.loss(x, y, seeded(), LossSettings(cross_entropy=weight, dice=0.0)) for weight in (1.0, 2.0)
    )
    assert torch.equal(2 * once.total, twice.total)
    assert once.parts.keys() == {"segmentation", "divergence"}


def test_other_terms_than_the_bound_leave_prior_and_posterior_where_they_are(plan: Plan) -> None:
    model = build(plan)
    x, y = batch_of(plan)
    losses = model.loss(x, y, seeded(), LossSettings(cross_entropy=0.0))
    losses.total.backward()
    assert losses.parts.keys() == {"segmentation", "divergence", "others"}
    learning = {
        name for name, one in model.named_parameters() if one.grad is not None and bool(one.grad.any())
    }
    assert not [name for name in learning if name.startswith(("prior", "posterior"))]
    assert {"decoder.stem.weight", "numbers.weight", "mixing.3.weight"} <= learning


def test_a_prediction_does_not_run_the_posterior(plan: Plan) -> None:
    calls: list[int] = []
    model = build(plan)
    model.posterior.register_forward_hook(lambda *_: calls.append(1))
    model.sample(batch_of(plan)[0], samples=2, steps=2)
    assert calls == []


@pytest.mark.parametrize("dimensions", [2, 3])
def test_beside_prior_and_posterior_it_is_as_large_as_the_unet(dimensions: int) -> None:
    settings = default_model(dimensions, 1, 2)
    with torch.device("meta"):
        model, unet = ProbabilisticUNet(settings), UNet(settings)
    beside = parameters(model.prior) + parameters(model.posterior)
    assert parameters(unet) < parameters(model) - beside < 1.01 * parameters(unet)
    assert max(parameters(model.prior), parameters(model.posterior)) < parameters(unet)


def test_the_first_posterior_tells_two_masks_of_an_image_apart(plan: Plan) -> None:
    torch.manual_seed(0)
    model = ProbabilisticUNet(PRESETS["default"](plan).model)
    x, y = batch_of(plan)
    x, masks = x[:1].expand(2, *x.shape[1:]), torch.zeros_like(y)
    masks[0, : plan.patch[0] // 2] = masks[1, :, : plan.patch[1] // 2] = 1
    found = model.posterior(torch.cat([x, one_hot(masks, 3)], 1))
    distance = (found.mean[0] - found.mean[1]).abs() / found.log_deviation[0].exp()
    assert distance.norm() > 1
