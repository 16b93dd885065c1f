"""Halves of the raters, and level sets of their mean, against the other half."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from result_files import Script


@pytest.fixture
def levels(script: Script) -> ModuleType:
    return script("rater_levels")


def gained_over_levels(levels: ModuleType, masks: list[list[int]]) -> float:
    """Return by how much GED² is lower for raters, who draw `masks`, than for level sets."""
    raters = [np.array([mask]) for mask in masks]
    drawn = [levels.scores_of_halves(raters, [0, 1], np.random.default_rng(seed)) for seed in range(40)]
    raters_own, of_levels = ([one[source]["ged2"] for one in drawn] for source in levels.SOURCES)
    return float(np.mean(of_levels) - np.mean(raters_own))


def test_level_sets_are_as_good_where_one_raters_mask_holds_the_next_ones(levels: ModuleType) -> None:
    masks = [[1] * n + [0] * (8 - n) for n in range(1, 9)]

    assert gained_over_levels(levels, masks) == pytest.approx(0, abs=1e-9)


def test_level_sets_are_worse_where_raters_choose_one_of_two_places(levels: ModuleType) -> None:
    masks = [[1, 1, 0, 0], [0, 0, 1, 1]] * 4

    assert gained_over_levels(levels, masks) > 0.1
