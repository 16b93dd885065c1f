"""Dice and volumes on masks whose answer is known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldseg.data.volume import Axes
from ldseg.metrics.masks import Mask, mask_pair
from ldseg.metrics.overlap import overlap_metrics


def scores(
    prediction: list[int], reference: list[int], spacing: tuple[float, ...] = (2.0, 3.0)
) -> dict[str, float]:
    a, b = np.array([prediction], dtype=bool), np.array([reference], dtype=bool)
    return overlap_metrics(mask_pair(a, b, np.ones_like(a), spacing, "yx", 1.0))


def test_dice_is_twice_the_overlap_over_the_sum() -> None:
    assert scores([1, 1, 1, 0], [0, 1, 1, 1])["dice"] == pytest.approx(4 / 6)


def test_the_volume_difference_is_signed_and_in_millimetres() -> None:
    assert scores([1, 1, 1, 0], [1, 0, 0, 0])["volume_difference_mm2"] == pytest.approx(12.0)
    assert scores([0, 0, 0, 0], [1, 0, 0, 0])["volume_difference_mm2"] == pytest.approx(-6.0)


def test_the_volume_error_is_a_share_of_the_reference() -> None:
    assert scores([1, 1, 1, 0], [1, 1, 0, 0])["volume_error"] == pytest.approx(0.5)
    assert scores([1, 0, 0, 0], [1, 1, 0, 0])["volume_error"] == pytest.approx(0.5)


def test_two_empty_masks_agree() -> None:
    assert scores([0, 0], [0, 0]) == {"dice": 1.0, "volume_error": 0.0, "volume_difference_mm2": 0.0}


@pytest.mark.parametrize("pair", [([1, 0], [0, 0]), ([0, 0], [1, 0])])
def test_one_empty_mask_is_all_wrong(pair: tuple[list[int], list[int]]) -> None:
    found = scores(*pair)
    assert (found["dice"], found["volume_error"]) == (0.0, 1.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_dice_lies_between_no_and_full_overlap_and_is_symmetric(voxels: list[tuple[bool, bool]]) -> None:
    a, b = [int(p) for p, _ in voxels], [int(q) for _, q in voxels]
    dice = scores(a, b)["dice"]
    assert 0 <= dice <= 1
    assert dice == scores(b, a)["dice"]
    assert scores(a, a)["dice"] == 1


def cine(frames: list[list[int]]) -> Mask:
    return np.array([[frame] for frame in frames], dtype=bool)


def test_over_time_dice_takes_all_frames_together_and_areas_are_per_frame() -> None:
    prediction, reference = cine([[1, 1], [0, 0]]), cine([[1, 0], [1, 0]])
    valid = np.ones_like(reference)
    axes: Axes = "tyx"
    found = overlap_metrics(mask_pair(prediction, reference, valid, (30.0, 2.0, 2.0), axes, 1.0))
    assert found["dice"] == pytest.approx(2 / 4)
    found = overlap_metrics(mask_pair(prediction, cine([[1, 0], [0, 0]]), valid, (30.0, 2.0, 2.0), axes, 1.0))
    assert found["volume_difference_mm2"] == pytest.approx(4.0 / 2)
