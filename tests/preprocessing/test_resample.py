"""Resampling between grids over the same box."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preprocessing_grids import blobs, dice

from ldseg.preprocessing.resample import (
    StreamingResampler,
    resample_image,
    resample_labels,
    resample_probabilities,
)

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def test_equal_shapes_are_bit_equal() -> None:
    array = np.random.default_rng(0).standard_normal((2, 5, 6, 7)).astype(np.float32)
    np.testing.assert_array_equal(resample_image(array, (5, 6, 7)), array)
    np.testing.assert_array_equal(resample_probabilities(array, (5, 6, 7)), array)
    labels = np.array([[0, 3], [-1, 2]], dtype=np.int16)
    np.testing.assert_array_equal(resample_labels(labels, (2, 2)), labels)


@settings(deadline=None)
@given(old=shapes, new=shapes)
def test_a_constant_stays_constant_and_probabilities_sum_to_one(
    old: tuple[int, int], new: tuple[int, int]
) -> None:
    np.testing.assert_allclose(resample_image(np.full((1, *old), 7.0, np.float32), new), 7.0, rtol=1e-5)
    logits = np.random.default_rng(0).standard_normal((3, *old))
    probabilities = (np.exp(logits) / np.exp(logits).sum(0)).astype(np.float32)
    result = resample_probabilities(probabilities, new)
    assert result.shape == (3, *new)
    assert result.min() >= 0
    np.testing.assert_allclose(result.sum(0), 1, rtol=1e-5)


@settings(deadline=None)
@given(old=shapes, new=shapes)
def test_mirroring_and_resampling_commute(old: tuple[int, int], new: tuple[int, int]) -> None:
    array = np.random.default_rng(0).standard_normal((1, *old)).astype(np.float32)
    np.testing.assert_allclose(
        resample_image(array[:, ::-1], new), resample_image(array, new)[:, ::-1], atol=1e-5
    )


def test_a_ramp_keeps_its_place_in_the_world() -> None:
    centres = (np.arange(20) + 0.5) / 20
    fine = (np.arange(50) + 0.5) / 50
    result = resample_image(centres[None].astype(np.float32), (50,))
    np.testing.assert_allclose(result[0, 5:-5], fine[5:-5], atol=1e-4)


def test_shrinking_does_not_alias() -> None:
    stripes = np.tile(np.array([0.0, 1.0], np.float32), 60)[None]
    assert np.ptp(resample_image(stripes, (30,))[0, 3:-3]) < 0.05


def test_a_linear_axis_does_not_overshoot_and_a_cubic_one_is_sharper() -> None:
    edge = np.repeat(np.array([0.0, 1.0], np.float32), 8)[None]
    assert resample_image(edge, (48,), linear_axes=(0,)).max() <= 1
    assert resample_image(edge, (48,)).max() > 1


@pytest.mark.parametrize("between", [(30, 50, 45), (9, 40, 31)])
def test_labels_come_back_from_another_grid(between: tuple[int, ...]) -> None:
    ids = blobs((18, 40, 40)).astype(np.int16)
    there = resample_labels(ids, between)
    back = resample_labels(there, ids.shape)
    assert set(np.unique(there)) == {0, 1, 4}
    for k in (1, 4):
        assert dice(back == k, ids == k) > 0.9


def test_no_label_is_invented_between_two_others_and_ignore_stays() -> None:
    labels = np.zeros((8, 9), dtype=np.int16)
    labels[:, 3:6] = 2
    labels[:, 6:] = -1
    result = resample_labels(labels, (20, 23))
    assert set(np.unique(result)) == {-1, 0, 2}
    assert (result[:, -5:] == -1).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("new", [(9, 8, 11), (4, 20, 7), (30, 3, 25)])
@pytest.mark.parametrize("depth", [1, 3, 100])
def test_planes_that_come_one_by_one_are_resampled_as_together(
    axis: int, new: tuple[int, ...], depth: int
) -> None:
    array = np.random.default_rng(0).random((2, 9, 8, 11), dtype=np.float32)
    growing, made = StreamingResampler(array.shape[1:], new, axis), []
    for start in range(0, array.shape[axis + 1], depth):
        made.append(
            growing.add(array.take(range(start, min(start + depth, array.shape[axis + 1])), axis + 1))
        )
    found = np.concatenate(made, axis + 1)
    np.testing.assert_allclose(found, resample_probabilities(array, new), atol=1e-6)
