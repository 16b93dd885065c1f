"""Ambiguity figures by hand, and against loops over pairs and matchings."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from ldseg.metrics import ambiguity
from ldseg.metrics.ambiguity import (
    AmbiguityMetrics,
    ambiguity_metrics,
    count_overlap,
    hungarian_iou,
    inclusion_frequency,
    pairwise_dice,
)

A, B, AB, NOTHING = (np.array(ids) for ids in ([1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]))


def random_maps(seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shared = rng.choice([0, 2, 5], (6, 7))
    return [
        np.where(rng.uniform(size=shared.shape) < 0.4, rng.choice([0, 2, 5], shared.shape), shared)
        for _ in range(count)
    ]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    scores = []
    for k in (2, 5):
        union = ((a == k) | (b == k)).sum()
        scores.append(((a == k) & (b == k)).sum() / union if union else 1.0)
    return float(np.mean(scores))


def test_equal_distributions_have_no_distance() -> None:
    found = ambiguity_metrics([A, B], [B, A], A, [1])
    assert found.ged2 == pytest.approx(0)
    assert found.hm_iou == found.dice_match == 1
    assert found.sample_diversity == found.rater_diversity == 1


def test_figures_by_hand() -> None:
    """Samples say A, A; raters A and all: IoU 1 and 1/2."""
    found = ambiguity_metrics([A, A], [A, AB], A, [1])
    assert found.ged2 == pytest.approx(2 * 0.25 - 0 - 0.25)
    assert found.hm_iou == pytest.approx(0.75)
    assert found.dice_match == pytest.approx((1 + 2 / 3) / 2)
    assert (found.sample_diversity, found.rater_diversity) == (0, 0.5)
    assert found.majority_dice == 1  # two raters: what both say


def test_raters_agree_as_the_mean_dice_of_two_of_them() -> None:
    first, second, third = (np.array([row]) for row in ([1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]))
    assert pairwise_dice([first, second, third], [1]) == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert pairwise_dice([first], [1]) == 1
    unlabelled = np.array([[1, 9, 0, 0]])
    assert pairwise_dice([unlabelled, second], [1], ignore_id=9) == 1


def test_two_maps_without_the_structure_agree() -> None:
    found = ambiguity_metrics([NOTHING], [NOTHING, NOTHING], NOTHING, [1])
    assert found == AmbiguityMetrics(0, 1, 1, 0, 0, 1, 1)
    half = ambiguity_metrics([NOTHING, A], [NOTHING, A], A, [1])
    assert half.ged2 == pytest.approx(0)
    assert ambiguity_metrics([A], [NOTHING], A, [1]).ged2 == 2


def test_figures_are_those_of_loops_over_pairs() -> None:
    samples, raters = random_maps(0, 4), random_maps(1, 3)
    found = ambiguity_metrics(samples, raters, samples[0], [2, 5])

    def distance(a: list[np.ndarray], b: list[np.ndarray]) -> float:
        return float(np.mean([1 - iou(x, y) for x in a for y in b]))

    expected = 2 * distance(samples, raters) - distance(samples, samples) - distance(raters, raters)
    assert found.ged2 == pytest.approx(expected)
    assert found.sample_diversity == pytest.approx(distance(samples, samples) * 4 / 3)
    assert found.rater_diversity == pytest.approx(distance(raters, raters) * 3 / 2)


def test_blocks_of_voxels_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, raters = random_maps(2, 3), random_maps(3, 2)
    whole = ambiguity_metrics(samples, raters, samples[0], [2, 5])
    monkeypatch.setattr(ambiguity, "_BLOCK", 5)
    assert ambiguity_metrics(samples, raters, samples[0], [2, 5]) == whole


def test_matching_is_the_best_of_all_permutations() -> None:
    scores = np.random.default_rng(4).uniform(size=(2, 4))
    repeated = np.tile(scores, (2, 1))
    best = max(np.mean([repeated[i, j] for i, j in enumerate(order)]) for order in permutations(range(4)))
    assert hungarian_iou(scores) == pytest.approx(best)
    assert hungarian_iou(np.random.default_rng(5).uniform(size=(3, 2))) <= 1


def test_voxels_that_a_rater_left_out_do_not_count() -> None:
    partly = np.array([1, 1, 9, 9])
    found = ambiguity_metrics([AB], [partly, A], AB, [1], ignore_id=9)
    assert (found.ged2, found.dice_match) == (0, 1)


@pytest.mark.parametrize("samples, raters", [([], [A]), ([A], []), ([A], [A[:2]])])
def test_what_cannot_be_compared_is_refused(samples: list[np.ndarray], raters: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"at least one|different shapes"):
        ambiguity_metrics(samples, raters, A, [1])


def test_a_region_is_included_when_most_of_it_is() -> None:
    region = np.array([True, True, True, False])
    samples = [np.array(ids) for ids in ([1, 1, 0, 0], [1, 0, 0, 1], [2, 2, 2, 2], [1, 1, 1, 0])]
    assert inclusion_frequency(samples, region, 1) == 0.5
    with pytest.raises(ValueError, match="no voxel"):
        inclusion_frequency(samples, ~(region | True), 1)


def test_overlaps_of_parts_add_up_and_voxels_count_by_their_weight() -> None:
    rng = np.random.default_rng(0)
    a, b = (list(rng.integers(0, 3, (number, 60))) for number in (2, 3))
    weights = rng.integers(1, 4, 60).astype(np.float32)
    repeated = [[one.repeat(weights.astype(int)) for one in maps] for maps in (a, b)]
    whole = count_overlap(repeated[0], repeated[1], [1, 2])
    first, second = (
        count_overlap([one[part] for one in a], [one[part] for one in b], [1, 2], weights[part])
        for part in (slice(25), slice(25, None))
    )
    found = first + second
    np.testing.assert_allclose(found.common, whole.common)
    np.testing.assert_allclose(found.sizes_a, whole.sizes_a)
    np.testing.assert_allclose(found.sizes_b, whole.sizes_b)
