"""Agreement of samples from counts alone, against the same computed pair by pair; confidence of a case."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from gathering import gather
from torch import Tensor

from ldseg.inference.posterior import case_confidence
from ldseg.inference.sliding_window import Tiling, make_tiling

TILED = make_tiling((21, 30), (16, 16), (4, 4))
ONE = make_tiling((11, 16), (16, 16), (4, 4))


def stack(tiling: Tiling, samples: int, classes: int = 3) -> Tensor:
    """Probabilities (samples, K, *covered), the same for all tiles."""
    generator = torch.Generator().manual_seed(1)
    shared = torch.randn(1, classes, *tiling.covered, generator=generator)
    own = torch.randn(samples, classes, *tiling.covered, generator=generator)
    return (2 * shared + own).softmax(1)


def pooled_dice(labels: Tensor, k: int) -> float:
    """Over all pairs, one by one."""
    common = size = 0
    for a, b in combinations(labels == k, 2):
        common += 2 * int((a & b).sum())
        size += int(a.sum() + b.sum())
    return common / size


@pytest.mark.parametrize("tiling", [ONE, TILED])
def test_pairwise_dice_is_that_of_all_pairs(tiling: Tiling) -> None:
    samples = stack(tiling, 5)
    labels = samples[(slice(None), slice(None), *tiling.inside)].argmax(1)
    expected = [pooled_dice(labels, k) for k in (1, 2)]
    np.testing.assert_allclose(gather(tiling, samples).posterior.pairwise_dice(), expected, atol=1e-5)


@pytest.mark.parametrize("tiling", [ONE, TILED])
def test_frequencies_are_the_share_of_samples_that_decide_so(tiling: Tiling) -> None:
    samples = stack(tiling, 5)
    labels = samples[(slice(None), slice(None), *tiling.inside)].argmax(1)
    expected = torch.stack([(labels == k).float().mean(0) for k in range(3)])
    torch.testing.assert_close(gather(tiling, samples).frequencies, expected, rtol=0, atol=1e-6)


def test_equal_samples_agree_wholly_and_disjoint_ones_not_at_all() -> None:
    first = stack(ONE, 1)
    assert gather(ONE, first.repeat(4, 1, 1, 1)).posterior.pairwise_dice() == pytest.approx([1, 1])
    turned = first.roll(1, 1)  # each voxel goes to another class
    assert gather(ONE, torch.cat([first, turned])).posterior.pairwise_dice() == pytest.approx([0, 0])


def test_samples_agree_on_a_structure_that_none_has() -> None:
    nothing = torch.zeros(3, 2, *ONE.covered)
    nothing[:, 0] = 1
    assert gather(ONE, nothing).posterior.pairwise_dice() == pytest.approx([1])


def test_one_sample_has_no_pairs() -> None:
    with pytest.raises(ValueError, match="draw at least 2"):
        gather(ONE, stack(ONE, 1)).posterior.pairwise_dice()


def test_confidence_is_the_dice_to_expect() -> None:
    sure = np.zeros((2, 4, 4), np.float32)
    sure[1, :2], sure[0, 2:] = 1, 1
    assert case_confidence(sure) == 1
    unsure = np.full((2, 1, 4), 0.5, np.float32)
    unsure[:, 0, :2] = [[0.2], [0.8]]  # the answer is these 2 voxels: 2 * 1.6 / (2 + 2.6)
    assert case_confidence(unsure) == pytest.approx(3.2 / 4.6)


def test_confidence_in_an_absent_structure_is_that_of_its_likeliest_voxel() -> None:
    absent = np.array([[[0.9, 0.7, 1.0]], [[0.1, 0.3, 0.0]]], np.float32)
    assert case_confidence(absent) == pytest.approx(0.7)
