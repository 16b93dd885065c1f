"""The comparison of distributions that `raters.py` measured."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from result_files import Script


@pytest.fixture
def compare(script: Script) -> ModuleType:
    return script("rater_differences")


@pytest.fixture
def scores(script: Script) -> ModuleType:
    return script("rater_scores")


def result(model: str, seed: int, fold: int, better: float) -> dict[str, Any]:
    """A fold of four cases in two sub-sets, whose GED^2 is lower by `better`."""
    cases = [f"set{number % 2 + 1}_{4 * fold + number}" for number in range(4)]
    found = {
        case: {"ged2": 0.2 + 0.1 * seed + 0.01 * n - better, "sample_diversity": 0.1, "rater_diversity": 0.2}
        for n, case in enumerate(cases)
    }
    return {
        "model": model,
        "seed": seed,
        "subjects": {case: case[:-1] for case in cases},
        "scores": {"16_samples": {"cases": found}},
    }


def test_seeds_are_averaged_and_folds_put_together(compare: ModuleType) -> None:
    results = [result("ldseg", seed, fold, 0) for seed in (0, 1) for fold in (0, 1)]
    (one,) = compare.gather(results).values()
    assert (one.seeds, len(one.cases)) == (2, 8)
    assert one.cases["set1_0"]["ged2"] == pytest.approx(0.25)


def test_a_comparison_has_the_means_the_subsets_and_the_differences(compare: ModuleType) -> None:
    found = compare.gather([result("ldseg", 0, 0, 0.05), result("unet", 0, 0, 0)])
    text = compare.comparison(found, ("ldseg", "16 samples"), ("ged2",))
    assert "| ldseg | 16 samples | 1 | 4 | 0.1650 |" in text
    assert "| 0.500 |" in text  # half as diverse as the raters
    assert "### set1" in text
    assert "### set2" in text
    assert "| unet | 16 samples | 4 | 2 | +0.0500 [+0.0500, +0.0500] |" in text


def test_an_interval_is_that_of_resampled_subjects(compare: ModuleType) -> None:
    """Cases of one subject that are alike tell no more than one of them."""
    values = np.random.default_rng(1).normal(size=40).tolist()
    subjects = [str(number) for number in range(40)]
    low, high = compare.bootstrap_interval(values, subjects)
    half = 1.96 * np.std(values) / np.sqrt(40)
    assert high - low == pytest.approx(2 * half, rel=0.1)
    assert compare.bootstrap_interval(values * 4, subjects * 4) == pytest.approx((low, high))


def test_level_sets_of_a_sure_map_are_the_map_itself(scores: ModuleType) -> None:
    labels = np.array([[0, 1], [1, 0]])
    sure = np.stack([labels == 0, labels == 1]).astype(np.float32)
    raters = [labels, labels]
    maps = scores.level_sets(sure, [0, 7], 4)
    found = scores.distribution_scores(maps, maps[0], [7 * one for one in raters], [0, 7])
    assert (found["ged2"], found["rater_dice"], found["covered"]) == (0.0, 1.0, 1.0)
    assert scores.frequency_scores(sure, [7 * one for one in raters], [0, 7]) == {"brier": 0, "soft_ece": 0}
