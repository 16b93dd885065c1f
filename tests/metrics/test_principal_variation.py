"""What differs most among samples."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ldseg.metrics.principal_variation import principal_variation

Labels = NDArray[np.int32]


def disc(radius: float, center: tuple[float, float] = (20.0, 20.0)) -> Labels:
    y, x = np.mgrid[:40, :40]
    return (((y - center[0]) ** 2 + (x - center[1]) ** 2) <= radius**2).astype(np.int32)


def test_discs_that_differ_in_their_radius_vary_from_small_to_large() -> None:
    found = principal_variation([disc(r) for r in (8, 9, 10, 11, 12)], 2, (1.0, 1.0))
    sizes = [int(one.sum()) for one in found.maps]
    assert sizes == sorted(sizes)
    assert sizes[0] < disc(9).sum() < disc(11).sum() < sizes[-1]
    assert found.explained > 0.9


def test_the_middle_is_near_the_mean_shape() -> None:
    found = principal_variation([disc(r) for r in (8, 12)], 2, (1.0, 1.0), deviations=(0.0,))
    assert (found.maps[0] != disc(10)).sum() <= 24


def test_voxels_on_which_all_samples_agree_stay() -> None:
    samples = [disc(8), disc(10)]
    other = disc(3, (5.0, 5.0)) * 2
    both = [np.maximum(one, other) for one in samples]
    for one in principal_variation(both, 3, (1.0, 1.0)).maps:
        assert ((one == 2) == (other == 2)).all()


def test_a_structure_that_half_of_the_samples_have_appears_and_vanishes() -> None:
    found = principal_variation(
        [disc(6), np.zeros((40, 40), np.int32)] * 3, 2, (1.0, 1.0), deviations=(-1.0, 1.0)
    )
    assert found.maps[0].sum() == 0
    assert (found.maps[1] == disc(6)).all()


def test_equal_samples_have_no_variation() -> None:
    found = principal_variation([disc(8), disc(8)], 2, (1.0, 1.0))
    assert found.explained == 0
    assert all((one == disc(8)).all() for one in found.maps)


def test_every_map_has_labels_of_the_samples_in_3d() -> None:
    rng = np.random.default_rng(0)
    samples = [rng.integers(0, 4, (5, 6, 7)) for _ in range(3)]
    found = principal_variation(samples, 4, (3.0, 1.0, 1.0))
    assert {one.shape for one in found.maps} == {(5, 6, 7)}
    assert all(one.min() >= 0 and one.max() <= 3 for one in found.maps)


def test_one_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        principal_variation([disc(8)], 2, (1.0, 1.0))
