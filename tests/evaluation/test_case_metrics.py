"""What every metric family in the registry must hold, and the scores of a case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ldseg.data.volume import Axes, Volume
from ldseg.errors import InputError
from ldseg.evaluation.case_metrics import METRICS, evaluate_case
from ldseg.metrics.masks import MaskPair, mask_pair

SHAPES: dict[Axes, tuple[int, ...]] = {"yx": (9, 11), "zyx": (5, 9, 7), "tyx": (3, 9, 11)}
CLASSES = {"background": 0, "head": 1, "tail": 2}


def pair(axes: Axes, prediction: float, reference: float) -> MaskPair:
    """Random masks of these densities; a corner is ignored."""
    draw = np.random.default_rng(0)
    shape = SHAPES[axes]
    valid = np.ones(shape, dtype=bool)
    valid[..., :2, :2] = False
    a, b = draw.random(shape) < prediction, draw.random(shape) < reference
    return mask_pair(a, b, valid, (2.0, 0.7, 0.9)[-len(shape) :], axes, 1.0)


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("family", METRICS)
@pytest.mark.parametrize("densities", [(0.3, 0.4), (0, 0.4), (0.3, 0), (0, 0), (1, 1), (1, 0.01)])
def test_every_number_is_finite_and_named_alike(
    family: Callable[[MaskPair], dict[str, float]], axes: Axes, densities: tuple[float, float]
) -> None:
    found = family(pair(axes, *densities))
    assert all(type(value) in (int, float) and np.isfinite(value) for value in found.values())
    assert found.keys() == family(pair(axes, 0.5, 0.5)).keys()


def test_no_two_families_share_a_name() -> None:
    names = [name for family in METRICS for name in family(pair("zyx", 0.3, 0.4))]
    assert len(set(names)) == len(names)


def volume(array: np.ndarray) -> Volume:
    return Volume(array[None], (2.0, 3.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0), "yx", "labels")


def test_background_is_no_class_to_score() -> None:
    a = np.random.default_rng(0).integers(0, 3, (9, 9))
    assert set(evaluate_case(volume(a), volume(a), CLASSES)) == {"head", "tail"}


def test_lengths_follow_the_reference_spacing() -> None:
    a, b = np.zeros((2, 12, 12), dtype=np.uint8)
    a[4:8, 4:8], b[5:9, 4:8] = 1, 1
    found = evaluate_case(replace(volume(a), spacing=(1.0, 1.0)), volume(b), CLASSES)
    assert found["head"].metrics["hd95_mm"] == 2.0


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        evaluate_case(volume(np.zeros((4, 5), int)), volume(np.zeros((5, 4), int)), CLASSES)


def test_the_ignore_id_is_legal_in_the_reference_and_hides_what_is_predicted_there() -> None:
    a, b = np.zeros((2, 6, 6), dtype=np.uint8)
    a[1:4, 1:4], b[1:4, 1:4] = 1, 1
    a[5, 5], b[5, 5] = 7, 9
    assert evaluate_case(volume(a), volume(b), CLASSES, ignore_id=9)["head"].metrics["dice"] == 1
    a[5, 5] = 0
    with pytest.raises(InputError, match=r"the reference holds label ids that are no class \(9;"):
        evaluate_case(volume(a), volume(b), CLASSES)
