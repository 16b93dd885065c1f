"""Labels are decided by the risk that samples expect, and never worse than the argmax."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from ldseg.inference.decision import LIMIT, STEP, LabelRule, PosteriorCounts, decide_labels, pack_levels
from ldseg.metrics.dice import dice

Classes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def posterior(seed: int, classes: int, samples: int, shape: tuple[int, ...]) -> tuple[Floats, Classes]:
    """Return mean probabilities, and samples that lean to them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(classes, *shape))
    drawn = (logits + rng.gumbel(size=(samples, classes, *shape))).argmax(1).astype(np.uint8)
    frequencies = np.stack([(drawn == k).mean(0) for k in range(classes)])
    softmax = np.exp(logits) / np.exp(logits).sum(0)
    return ((frequencies + softmax) / 2).astype(np.float32), drawn


def expected_dice(labels: Classes, samples: Classes, classes: int) -> float:
    """Return the mean Dice over structures and samples."""
    return float(np.mean([dice(labels == k, one == k) for k in range(1, classes) for one in samples]))


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("seed", range(6))
def test_the_decision_expects_no_less_dice_than_the_argmax(seed: int, classes: int) -> None:
    probabilities, samples = posterior(seed, classes, 7, (6, 9))
    labels, rule = decide_labels(probabilities, samples)
    assert labels.shape == (6, 9)
    assert set(np.unique(labels)) <= set(range(classes))
    argmax = expected_dice(probabilities.argmax(0).astype(np.uint8), samples, classes)
    assert expected_dice(labels, samples, classes) >= argmax
    assert 1 - np.mean(rule.risks) == pytest.approx(expected_dice(labels, samples, classes))


@pytest.mark.parametrize("seed", range(8))
def test_no_threshold_of_one_structure_does_better(seed: int) -> None:
    probabilities, samples = posterior(seed, 2, 5, (4, 5))
    labels, _ = decide_labels(probabilities, samples)
    thresholds = np.unique(probabilities[1])
    every = [expected_dice((probabilities[1] >= t).astype(np.uint8), samples, 2) for t in thresholds]
    rounded = [
        expected_dice(LabelRule((offset,), ()).classes(pack_levels(probabilities)), samples, 2)
        for offset in range(-LIMIT, LIMIT + 1)
    ]
    assert expected_dice(labels, samples, 2) == pytest.approx(max(rounded))
    assert expected_dice(labels, samples, 2) >= max(every) - 0.03  # levels are rounded


@pytest.mark.parametrize("seed", range(4))
def test_no_other_offset_of_one_of_several_structures_does_better(seed: int) -> None:
    probabilities, samples = posterior(seed, 3, 5, (4, 6))
    _, rule = decide_labels(probabilities, samples)
    levels = pack_levels(probabilities)
    offsets = rule.offsets or (0, 0)
    best = 1 - np.mean(rule.risks)
    for k, other in product(range(2), range(-LIMIT, LIMIT + 1)):
        changed = tuple(other if j == k else offset for j, offset in enumerate(offsets))
        assert expected_dice(LabelRule(changed, ()).classes(levels), samples, 3) <= best + 1e-9


def test_of_one_sample_the_labels_are_the_argmax() -> None:
    probabilities, samples = posterior(1, 3, 1, (8, 8))
    probabilities = np.stack([samples[0] == k for k in range(3)]).astype(np.float32) * 0.8 + 0.1
    labels, rule = decide_labels(probabilities, samples)
    np.testing.assert_array_equal(labels, probabilities.argmax(0))
    assert rule == LabelRule(None, (0.0, 0.0))


def test_offsets_of_zero_are_the_argmax_of_one_structure() -> None:
    probabilities, _ = posterior(2, 2, 3, (30, 30))
    labels = LabelRule((0,), ()).classes(pack_levels(probabilities))
    np.testing.assert_array_equal(labels, probabilities.argmax(0))


@pytest.mark.parametrize("present, found", [(6, True), (3, False)])
def test_a_structure_that_the_argmax_misses_is_found_where_most_samples_have_it(
    present: int, found: bool
) -> None:
    samples = np.zeros((8, 1, 40), np.uint8)
    for number in range(present):  # of 10 voxels, each at a place of its own: no voxel has it in half of them
        samples[number, 0, 4 * number : 4 * number + 10] = 1
    frequencies = (samples == 1).mean(0)
    probabilities = np.stack([1 - frequencies, frequencies]).astype(np.float32)
    assert frequencies.max() < 0.5
    labels, rule = decide_labels(probabilities, samples)
    assert labels.any() == found
    assert rule.risks[0] == pytest.approx(1 - expected_dice(labels, samples, 2))


def test_blocks_decide_as_the_whole_does() -> None:
    probabilities, samples = posterior(3, 3, 6, (12, 10))
    _, whole = decide_labels(probabilities, samples)
    counts = PosteriorCounts(3, 6)
    for rows in (slice(0, 5), slice(5, 12)):
        block = probabilities[:, rows].reshape(3, -1)
        for weight in (0.25, 0.75):  # of two tiles that cover it
            counts.add(block, samples[:, rows].reshape(6, -1), np.full(block.shape[1], weight))
    rule = counts.decide()
    assert rule.offsets == whole.offsets
    np.testing.assert_allclose(rule.risks, whole.risks)


def test_counts_do_not_grow_with_the_image() -> None:
    small, large = PosteriorCounts(2, 3), PosteriorCounts(2, 3)
    probabilities, samples = posterior(4, 2, 3, (400,))
    for counts, times in ((small, 1), (large, 50)):
        for _ in range(times):
            counts.add(probabilities, samples, np.ones(400))
    assert large._columns.shape == small._columns.shape
    np.testing.assert_allclose(large._weights, 50 * small._weights)


def test_many_samples_of_many_classes_are_told_apart() -> None:
    probabilities, samples = posterior(5, 20, 64, (5, 6))
    labels, rule = decide_labels(probabilities, samples)
    assert 1 - np.mean(rule.risks) == pytest.approx(expected_dice(labels, samples, 20))


def test_classes_beyond_the_256th_keep_their_index() -> None:
    probabilities = np.full((300, 1, 4), 1e-5, np.float32)
    probabilities[[0, 280]] = [[[0.2]], [[0.8]]]
    labels, _ = decide_labels(probabilities, np.full((3, 1, 4), 280, np.uint16))
    assert np.unique(labels).tolist() == [280]


def test_an_empty_image_is_empty_for_sure() -> None:
    probabilities = np.stack([np.ones((3, 4)), np.zeros((3, 4))]).astype(np.float32)
    labels, rule = decide_labels(probabilities, np.zeros((5, 3, 4), np.uint8))
    assert not labels.any()
    assert rule.risks == (0.0,)


def test_another_risk_decides_otherwise() -> None:
    """A false voxel costs ten times a missed one."""

    def careful(common: NDArray[np.float64], sizes: NDArray[np.float64], sample_sizes: NDArray[np.float64]):  # type: ignore[no-untyped-def]
        return 10 * (sizes - common) + (sample_sizes - common)

    probabilities, samples = posterior(6, 2, 9, (10, 10))
    labels, _ = decide_labels(probabilities, samples, careful)
    assert 0 < labels.sum() < probabilities.argmax(0).sum()
    assert probabilities[1][labels == 1].min() > 0.7


def test_levels_are_rounded_up_so_that_the_likelier_class_is_above_zero() -> None:
    odds = np.array([-100.0, -STEP / 2, 0.0, STEP / 2, STEP, 100.0])
    structure = 1 / (1 + np.exp(-odds))
    levels = pack_levels(np.stack([1 - structure, structure]).astype(np.float32))[1].astype(int) - LIMIT
    np.testing.assert_array_equal(levels, [-LIMIT, 0, 0, 1, 1, LIMIT])


@pytest.mark.parametrize("background", [1e-7, 1e-4, 0.01, 0.5])
def test_offsets_of_zero_are_the_argmax_of_several_structures_but_for_rounding(background: float) -> None:
    """Also where two of them are far likelier than the background."""
    rest = np.random.default_rng(0).dirichlet((0.5, 0.5, 0.5), 500).T * (1 - background)
    probabilities = np.concatenate([np.full((1, 500), background), rest]).astype(np.float32)
    lower, higher = np.sort(np.log(np.maximum(probabilities, 1e-6)), axis=0)[-2:]
    clear = higher - lower > STEP
    assert clear.sum() > 300
    found = LabelRule((0, 0, 0), ()).classes(pack_levels(probabilities))
    np.testing.assert_array_equal(found[clear], probabilities.argmax(0)[clear])
