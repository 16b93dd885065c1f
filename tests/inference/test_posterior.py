"""Statistics over tiles and samples against the same computed from whole sample stacks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gathering import gather
from torch import Tensor

from ldseg.inference.backends.backend import DETERMINISTIC_WEIGHT
from ldseg.inference.posterior import Posterior, entropy, estimate_volumes, likeliest
from ldseg.inference.sliding_window import Tiling, make_tiling

TILED = make_tiling((21, 30), (16, 16), (4, 4))
DEEP = make_tiling((5, 20, 61), (8, 16, 16), (4, 4, 4))
ONE = make_tiling((11, 16), (16, 16), (4, 4))


def whole_samples(tiling: Tiling, samples: int = 5, classes: int = 3) -> Tensor:
    logits = 3 * torch.randn(samples, classes, *tiling.covered, generator=torch.Generator().manual_seed(0))
    return logits.softmax(1)


@pytest.mark.parametrize("tiling", [ONE, TILED, DEEP])
def test_tiles_that_agree_give_the_statistics_of_the_whole(tiling: Tiling) -> None:
    samples = whole_samples(tiling)
    found = gather(tiling, samples)
    inside = samples[(slice(None), slice(None), *tiling.inside)]
    torch.testing.assert_close(found.probabilities, inside.mean(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.entropy, entropy(inside, 1).mean(0), rtol=0, atol=1e-6)
    labels = inside.argmax(1).flatten(1)
    expected = torch.stack([(labels == k).sum(1) for k in range(3)], 1).numpy()
    np.testing.assert_allclose(found.posterior.counts(), expected, atol=2e-3)


@pytest.mark.parametrize("tiling", [ONE, TILED, DEEP])
def test_an_answer_counts_in_the_mean_and_in_nothing_else(tiling: Tiling) -> None:
    samples, answer = whole_samples(tiling).split([4, 1])
    found, without = gather(tiling, samples, answer=answer), gather(tiling, samples)
    said = answer[(slice(None), slice(None), *tiling.inside)]
    mean = without.probabilities.lerp(said[0], DETERMINISTIC_WEIGHT)
    torch.testing.assert_close(found.probabilities, mean, rtol=0, atol=1e-6)
    own = without.entropy.lerp(entropy(said, 1)[0], DETERMINISTIC_WEIGHT)
    torch.testing.assert_close(found.entropy, own, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.frequencies, without.frequencies)
    np.testing.assert_array_equal(found.posterior.counts(), without.posterior.counts())


@pytest.mark.parametrize("tiling", [ONE, TILED, DEEP])
def test_samples_are_kept_when_asked_for(tiling: Tiling) -> None:
    samples = whole_samples(tiling)
    found = gather(tiling, samples, keep=True)
    inside = samples[(slice(None), slice(1, None), *tiling.inside)]
    torch.testing.assert_close(found.samples, inside, rtol=0, atol=1e-6)
    assert len(gather(tiling, samples).samples) == 0


def test_padding_counts_for_no_volume() -> None:
    found = gather(TILED, whole_samples(TILED))
    np.testing.assert_allclose(found.posterior.counts().sum(1), 21 * 30, rtol=1e-6)


def test_what_is_held_does_not_grow_along_the_axis_of_the_tiles_nor_with_the_samples() -> None:
    def held(length: int, samples: int) -> int:
        posterior = Posterior(3, make_tiling((20, length), (16, 16), (4, 4)), samples)
        return sum(value.numel() for value in vars(posterior).values() if isinstance(value, Tensor))

    assert held(1000, 2) == held(40, 2)
    assert held(40, 32) - held(40, 2) == 30 * 3
    long = make_tiling((20, 1000), (16, 16), (4, 4))
    assert gather(long, whole_samples(long, 1)).deepest <= 16


def test_the_likeliest_class_is_the_first_of_equals() -> None:
    probabilities = torch.tensor([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0.3, 0.3, 0.4], [0.1, 0.2, 0.7]])
    assert likeliest(probabilities, 1).tolist() == [0, 1, 2, 2]
    assert likeliest(probabilities.T, 0).tolist() == [0, 1, 2, 2]


def test_entropy_is_that_of_pytorch() -> None:
    probabilities = torch.tensor([0.0, 1e-30, 0.1, 1.0]).softmax(0).repeat(3, 1)
    probabilities[0] = torch.tensor([0.0, 1e-38, 0.3, 0.7])
    wanted = torch.special.entr(probabilities).sum(1)
    torch.testing.assert_close(entropy(probabilities, 1), wanted, rtol=0, atol=3e-7)


def test_entropy_is_zero_when_sure_and_log_k_when_not() -> None:
    sure, unsure = torch.eye(4)[:, :1], torch.full((4, 1), 0.25)
    assert entropy(sure, 0).item() == 0
    assert entropy(unsure, 0).item() == pytest.approx(np.log(4))


def test_volumes_have_a_mean_and_an_interval_over_the_samples() -> None:
    counts = np.array([[90.0, 10.0], [80.0, 20.0], [70.0, 30.0]])
    found = estimate_volumes(counts, ["background", "a"], voxel_size=2.0)
    assert list(found) == ["a"]
    assert (found["a"].mean, found["a"].low, found["a"].high) == pytest.approx((40.0, 22.0, 58.0))
