"""Coherent samples keep the mean's probabilities and the order of the samples that were drawn."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ldseg.data.volume import volume_of_array
from ldseg.inference.backends.backend import TileBlock
from ldseg.inference.coherence import Coherence, coherent_samples, gather, shifts
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import Calibration

SAMPLES = 8
FAR = Coherence(1e4)


def drawn(seed: int = 0, classes: int = 2, shape: tuple[int, ...] = (16, 24)) -> Tensor:
    """Probabilities (S, K, *S) that differ from voxel to voxel."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(SAMPLES, classes, *shape, generator=generator)).softmax(1)


def gathered(
    probabilities: Tensor, block: int = SAMPLES, factor: tuple[int, ...] = (4, 4)
) -> tuple[Tensor, Tensor]:
    """Mean and cells of a tile whose samples come so many at a time."""
    parts = ((first, probabilities[first : first + block]) for first in range(0, SAMPLES, block))
    blocks = (TileBlock(part, range(first, first + len(part))) for first, part in parts)
    return gather(blocks, factor, (1 / SAMPLES, 0.0))


def labels(mean: Tensor, cells: Tensor, coherence: Coherence) -> Tensor:
    """Classes (S, *S) of the coherent samples."""
    return torch.cat([one.probabilities.argmax(1) for one in coherent_samples(mean, cells, coherence)])


def test_as_many_samples_have_a_structure_as_its_probability_says() -> None:
    mean, cells = gathered(drawn())
    for coherence in (Coherence(0.5), FAR):  # of one order in a whole cell: what lies between is interpolated
        whole = cells.repeat_interleave(4, 2).repeat_interleave(4, 3)
        share = labels(mean, whole, coherence).float().mean(0)
        assert (share - mean[1]).abs().max() <= 0.5 / SAMPLES + 1e-6


def test_one_order_for_the_whole_tile_gives_nested_samples() -> None:
    found = labels(*gathered(drawn()), FAR).bool()
    by_size = found[found.flatten(1).sum(1).argsort()]
    assert all(bool((larger | ~smaller).all()) for smaller, larger in itertools.pairwise(by_size))
    assert by_size[0].sum() < by_size[-1].sum()


def test_the_sample_that_has_most_of_a_structure_keeps_most_of_it() -> None:
    mean, cells = gathered(drawn())
    cells[3, 1] += 0.2
    cells[3, 0] -= 0.2
    assert labels(mean, cells, FAR).flatten(1).sum(1).argmax() == 3


def test_a_short_length_lets_places_far_apart_differ() -> None:
    cells = torch.zeros(2, 2, 4, 16)
    cells[0, 1, :, :8] = cells[1, 1, :, 8:] = 0.1
    cells[:, 0] = -cells[:, 1]
    near = shifts(cells, 1.0)
    assert bool((near[0, 1, :, 0] > 0).all() and (near[0, 1, :, -1] < 0).all())
    torch.testing.assert_close(near[:, 0], -near[:, 1])


def test_a_temperature_moves_samples_apart() -> None:
    mean, cells = gathered(drawn())
    sizes = [
        labels(mean, cells, Coherence(1e4, temperature)).flatten(1).float().sum(1).std()
        for temperature in (0.5, 1, 3)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("shape, factor", [((16, 24), (4, 4)), ((8, 8, 12), (2, 4, 4))])
def test_the_result_does_not_depend_on_the_blocks(shape: tuple[int, ...], factor: tuple[int, ...]) -> None:
    probabilities = drawn(1, 3, shape)
    whole, parts = (gathered(probabilities, block, factor) for block in (SAMPLES, 3))
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b)
    for one in coherent_samples(*whole, Coherence(2)):
        torch.testing.assert_close(one.probabilities.sum(1), torch.ones(1, *shape))


def test_a_deterministic_prediction_counts_in_the_mean_alone() -> None:
    probabilities, sure = drawn(), torch.eye(2)[:1, :, None, None].expand(1, 2, 16, 24)
    blocks = [TileBlock(sure, range(0)), TileBlock(probabilities, range(SAMPLES))]
    mean, cells = gather(blocks, (4, 4), (0.5 / SAMPLES, 0.5))
    torch.testing.assert_close(mean, 0.5 * sure[0] + 0.5 * probabilities.mean(0))
    assert len(cells) == SAMPLES


def test_a_tile_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="add the samples"):
        gather([], (4, 4), (1.0, 0.0))


@pytest.mark.parametrize("length, temperature", [(0.0, 1.0), (4.0, 0.0)])
def test_a_length_and_a_temperature_are_above_zero(length: float, temperature: float) -> None:
    with pytest.raises(ValueError, match="choose values above 0"):
        Coherence(length, temperature)


def test_a_coherent_prediction_has_the_same_mean_and_frequencies_near_it(
    make_model: Callable[..., Path],
) -> None:
    plain = Predictor.load(make_model("yx", "none"), "cpu")
    coherent = plain.with_changes(calibration=Calibration(coherence=FAR))
    volume = volume_of_array(np.random.default_rng(0).normal(size=(40, 56)).astype(np.float32), "yx")
    before, after = (one(volume, samples=SAMPLES, keep_samples=True) for one in (plain, coherent))
    for name in ("probabilities", "labels", "uncertainty", "disagreement"):
        np.testing.assert_array_equal(getattr(before, name).array, getattr(after, name).array)
    apart = [np.abs(one.frequencies.array - one.probabilities.array).mean() for one in (before, after)]
    assert apart[1] < apart[0]
    kept = np.mean([[one.array[0] == n for n in (0, 2, 5)] for one in after.samples], 0)
    assert np.abs(kept - after.frequencies.array).max() < 0.51  # tiles that overlap may differ


def test_a_single_sample_stays_as_it_is(make_model: Callable[..., Path]) -> None:
    plain = Predictor.load(make_model("yx", "none"), "cpu")
    coherent = plain.with_changes(calibration=Calibration(coherence=FAR))
    volume = volume_of_array(np.random.default_rng(0).normal(size=(24, 24)).astype(np.float32), "yx")
    before, after = (one(volume, samples=1, steps=4, keep_samples=True) for one in (plain, coherent))
    np.testing.assert_array_equal(before.samples[0].array, after.samples[0].array)
