"""Widths of components."""

import numpy as np
import pytest

from ldseg.planning.components import component_widths


def _ball(shape: tuple[int, ...], radius: float) -> np.ndarray:
    grid = np.meshgrid(*(np.arange(n) - n / 2 + 0.5 for n in shape), indexing="ij")
    return sum(g**2 for g in grid) <= radius**2


@pytest.mark.parametrize("shape", [(60, 60), (48, 48, 48)])
def test_the_width_of_a_ball_is_its_diameter(shape: tuple[int, ...]) -> None:
    widths = component_widths(_ball(shape, 16.0))
    assert widths.shape == (1, len(shape))
    np.testing.assert_allclose(widths, 32, rtol=0.05)


def test_a_ring_is_as_wide_as_its_band() -> None:
    ring = _ball((100, 100), 40) & ~_ball((100, 100), 35)
    widths = component_widths(ring)
    assert widths.max() < 20  # its extent is 80


def test_a_cuboid_is_no_wider_than_its_extent() -> None:
    mask = np.zeros((20, 30, 40), dtype=bool)
    mask[3:7, 5:17, 2:35] = True
    np.testing.assert_array_equal(component_widths(mask), [[4, 12, 33]])


def test_specks_and_empty_masks_have_no_width() -> None:
    mask = np.zeros((50, 50), dtype=bool)
    assert component_widths(mask).shape == (0, 2)
    mask[10:30, 10:30] = True
    mask[45, 45] = True
    mask[40:42, 2] = True
    assert len(component_widths(mask)) == 1


def test_touching_the_border_and_neighbours_are_told_apart() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[:8, :8] = True
    mask[:8, 20:28] = True
    np.testing.assert_array_equal(component_widths(mask), [[8, 8], [8, 8]])
