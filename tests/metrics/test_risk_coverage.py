"""Risk over coverage against orders that are summed item by item."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from ldseg.metrics.risk_coverage import area_under_risk, group_by_confidence, risk_coverage_curve


def summed(losses: list[float]) -> float:
    """AURC of items in this order."""
    return float(np.mean(np.cumsum(losses) / np.arange(1, len(losses) + 1)))


def test_the_area_of_single_items_is_the_mean_of_their_running_risk() -> None:
    losses = [0.0, 0.3, 0.1, 1.0, 0.6]
    assert area_under_risk(np.ones(5), losses) == pytest.approx(summed(losses))


def test_a_group_counts_as_the_mean_over_all_its_orders() -> None:
    first, group, last = [0.2, 0.0], [1.0, 0.0, 0.5], [0.9]
    expected = np.mean([summed(first + list(order) + last) for order in permutations(group)])
    found = area_under_risk([1, 1, 3, 1], [0.2, 0.0, sum(group), 0.9])
    assert found == pytest.approx(float(expected))


def test_confidence_without_information_gives_the_mean_loss() -> None:
    assert area_under_risk([1000], [120]) == pytest.approx(0.12)


def test_empty_groups_change_nothing() -> None:
    assert area_under_risk([0, 4, 0, 2], [0, 1, 0, 2]) == area_under_risk([4, 2], [1, 2])


def test_a_million_voxels_in_one_group_keep_their_precision() -> None:
    right, wrong = 10**9, 10**6
    expected = (wrong - right * np.log((right + wrong) / right)) / (right + wrong)
    assert area_under_risk([right, wrong], [0, wrong]) == pytest.approx(expected, rel=1e-3)


def test_items_are_grouped_from_the_surest_down() -> None:
    counts, losses = group_by_confidence([0.5, 0.9, 0.5, 0.1], [0.2, 0.1, 0.4, 1.0])
    assert counts.tolist() == [1, 2, 1]
    assert losses.tolist() == pytest.approx([0.1, 0.6, 1.0])


def test_the_curve_ends_at_the_mean_loss_and_starts_with_the_surest() -> None:
    curve = risk_coverage_curve([5, 5], [0, 5], points=10)
    assert [point.coverage for point in curve] == pytest.approx(np.arange(0.1, 1.01, 0.1))
    assert [point.risk for point in curve[:5]] == [0] * 5
    assert curve[-1].risk == pytest.approx(0.5)


def test_nothing_has_no_risk() -> None:
    with pytest.raises(ValueError, match="no items"):
        area_under_risk([0, 0], [0, 0])
