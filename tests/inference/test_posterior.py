"""Statistics over tiles and samples against the same computed from whole sample stacks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ldseg.inference.posterior import Posterior, entropy, estimate_volumes
from ldseg.inference.tiling import Tiling, make_tiling

TILED = make_tiling((21, 30), (16, 16), (4, 4))
ONE = make_tiling((11, 16), (16, 16), (4, 4))


def whole_samples(tiling: Tiling, samples: int = 5, classes: int = 3) -> Tensor:
    logits = 3 * torch.randn(samples, classes, *tiling.covered, generator=torch.Generator().manual_seed(0))
    return logits.softmax(1)


def gathered(tiling: Tiling, probabilities: Tensor, block: int = 2) -> Posterior:
    """From tiles that agree in their overlap, in blocks of samples."""
    posterior = Posterior(probabilities.shape[1], tiling, range(len(probabilities)))
    for tile in tiling.tiles():
        part = probabilities[(slice(None), slice(None), *tile.region)]
        for first in range(0, len(part), block):
            posterior.add(tile, first, part[first : first + block])
    return posterior


@pytest.mark.parametrize("tiling", [ONE, TILED])
def test_tiles_that_agree_give_the_statistics_of_the_whole(tiling: Tiling) -> None:
    samples = whole_samples(tiling)
    posterior = gathered(tiling, samples)
    inside = samples[(slice(None), slice(None), *tiling.inside)]
    np.testing.assert_allclose(posterior.probabilities(), inside.mean(0).numpy(), atol=1e-6)
    np.testing.assert_allclose(posterior.sample_entropy(), entropy(inside, 1).mean(0).numpy(), atol=1e-6)
    labels = inside.argmax(1).flatten(1)
    expected = torch.stack([(labels == k).sum(1) for k in range(3)], 1).numpy()
    np.testing.assert_allclose(posterior.counts(), expected, atol=1e-4)


def test_padding_counts_for_no_volume() -> None:
    posterior = gathered(TILED, whole_samples(TILED))
    np.testing.assert_allclose(posterior.counts().sum(1), 21 * 30, rtol=1e-6)


def test_groups_of_samples_merge_into_the_same_statistics() -> None:
    samples = whole_samples(TILED, 5)
    together = gathered(TILED, samples)
    merged = gathered(TILED, samples[:2])
    for first in (2, 3, 4):
        one = Posterior(3, TILED, range(first, first + 1))
        for tile in TILED.tiles():
            one.add(tile, first, samples[(slice(first, first + 1), slice(None), *tile.region)])
        merged.merge(one)
    np.testing.assert_allclose(merged.probabilities(), together.probabilities(), atol=1e-6)
    np.testing.assert_allclose(merged.sample_entropy(), together.sample_entropy(), atol=1e-6)
    np.testing.assert_allclose(merged.counts(), together.counts())


def test_entropy_is_zero_when_sure_and_log_k_when_not() -> None:
    sure, unsure = torch.eye(4)[:, :1], torch.full((4, 1), 0.25)
    assert entropy(sure, 0).item() == 0
    assert entropy(unsure, 0).item() == pytest.approx(np.log(4))


def test_volumes_have_a_mean_and_an_interval_over_the_samples() -> None:
    counts = np.array([[90.0, 10.0], [80.0, 20.0], [70.0, 30.0]])
    found = estimate_volumes(counts, ["background", "a"], voxel_size=2.0)
    assert list(found) == ["a"]
    assert (found["a"].mean, found["a"].low, found["a"].high) == pytest.approx((40.0, 22.0, 58.0))
