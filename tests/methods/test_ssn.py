"""The stochastic segmentation network: its likelihood, its samples, what ignored voxels do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal

from ldseg.methods import ssn
from ldseg.methods.ssn import RANK, LogitDistribution, StochasticSegmentationNetwork, log_likelihood
from ldseg.planning.plan import Plan
from ldseg.presets import PRESETS
from ldseg.settings import LossSettings

K, SHAPE = 3, (2, 3)


def build(plan: Plan) -> StochasticSegmentationNetwork:
    torch.manual_seed(0)
    return StochasticSegmentationNetwork(PRESETS["default"](plan).model).eval()


def tiny_distribution(cases: int = 1) -> LogitDistribution:
    generator = torch.Generator().manual_seed(0)
    mean, deviation = torch.randn(2, cases, K, *SHAPE, generator=generator)
    return LogitDistribution(
        mean, 0.3 + deviation.abs(), torch.randn(cases, RANK, K, *SHAPE, generator=generator)
    )


def draws(samples: int, cases: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    coefficients = torch.randn(cases, samples, RANK, generator=generator)
    return coefficients, torch.randn(cases, samples, K, *SHAPE, generator=generator)


def as_torch_has_it(distribution: LogitDistribution) -> LowRankMultivariateNormal:
    return LowRankMultivariateNormal(
        distribution.mean.flatten(1),
        distribution.factor.flatten(2).transpose(1, 2),
        distribution.deviation.flatten(1).square(),
    )


def test_samples_have_the_covariance_of_factor_and_diagonal() -> None:
    distribution = tiny_distribution()
    samples = distribution.sample(*draws(200_000))[0].flatten(1)
    wanted = as_torch_has_it(distribution)
    torch.testing.assert_close(samples.mean(0), wanted.mean[0], rtol=0, atol=0.05)
    error = (samples.T.cov() - wanted.covariance_matrix[0]).abs().max()
    assert error < 0.02 * wanted.covariance_matrix.abs().max()


def test_the_likelihood_is_that_of_torchs_low_rank_normal() -> None:
    distribution, number = tiny_distribution(), 100_000
    y = torch.randint(0, K, (1, *SHAPE), generator=torch.Generator().manual_seed(2))
    torch.manual_seed(3)
    logits = as_torch_has_it(distribution).rsample((number,)).unflatten(2, (K, -1))  # (N, 1, K, V)
    chosen = logits.log_softmax(2)[:, 0].gather(1, y.flatten(1).expand(number, -1)[:, None]).sum((1, 2))
    wanted = chosen.logsumexp(0) - math.log(number)
    found = log_likelihood(distribution, *draws(number), y)
    torch.testing.assert_close(found[0], wanted, rtol=0, atol=0.05)


def test_without_covariance_the_likelihood_is_the_cross_entropy() -> None:
    mean = tiny_distribution().mean
    certain = LogitDistribution(mean, torch.zeros_like(mean), torch.zeros(1, RANK, K, *SHAPE))
    y = torch.ones(1, *SHAPE, dtype=torch.long)
    found = log_likelihood(certain, *draws(5), y)
    torch.testing.assert_close(found[0], -torch.nn.functional.cross_entropy(mean, y, reduction="sum"))


def test_chunks_of_samples_change_neither_likelihood_nor_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[Tensor, Tensor]] = []
    for most in (2**24, 2 * K * math.prod(SHAPE)):
        monkeypatch.setattr(ssn, "_TOGETHER", most)
        distribution = tiny_distribution(cases=2)
        distribution.factor.requires_grad_()
        value = log_likelihood(distribution, *draws(7, cases=2), torch.ones(2, *SHAPE, dtype=torch.long))
        value.sum().backward()
        assert distribution.factor.grad is not None
        found.append((value.detach(), distribution.factor.grad))
    torch.testing.assert_close(found[0], found[1])


def test_an_ignored_voxel_has_no_part_in_the_likelihood() -> None:
    distribution = tiny_distribution()
    y = torch.ones(1, *SHAPE, dtype=torch.long)
    y[:, 0, 0] = -1
    changed = LogitDistribution(distribution.mean.clone(), distribution.deviation, distribution.factor)
    changed.mean[:, :, 0, 0] += 100 * torch.arange(K)
    assert torch.equal(log_likelihood(distribution, *draws(5), y), log_likelihood(changed, *draws(5), y))


def test_the_deterministic_prediction_is_the_mean(plan: Plan) -> None:
    model = build(plan)
    with torch.no_grad():
        conditioning = model.encode_image(torch.randn(1, len(plan.channels), *plan.patch))
        z = model.predict_deterministic(conditioning, (1, *model.start_shape(plan.patch)))
        logits = model.decode(z, conditioning)
    assert torch.equal(logits, model.distribution(conditioning).mean)


def test_a_samples_coefficients_are_the_same_everywhere(plan: Plan) -> None:
    model = build(plan)
    with torch.no_grad():
        conditioning = model.encode_image(torch.randn(1, len(plan.channels), *plan.patch))
        z = torch.zeros(2, *model.start_shape(plan.patch))
        z[1, 3] = 1.0
        difference = torch.sub(*model.decode(z, conditioning).flip(0))
    torch.testing.assert_close(difference, model.distribution(conditioning).factor[0, 3], rtol=0, atol=1e-5)


def test_the_weight_of_the_cross_entropy_is_that_of_the_likelihood(plan: Plan) -> None:
    model = build(plan)
    x = torch.randn(2, len(plan.channels), *plan.patch)
    y = torch.randint(0, 3, (2, *plan.patch))
    once, twice = (
        model.loss(x, y, torch.Generator().manual_seed(0), LossSettings(cross_entropy=weight, dice=0.0))
        for weight in (1.0, 2.0)
    )
    assert torch.equal(2 * once.total, twice.total)
    assert once.parts.keys() == {"segmentation"}
