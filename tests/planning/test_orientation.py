"""Which way round a volume lies."""

from itertools import permutations, product

import numpy as np
import pytest

from ldseg.data.volume import Volume
from ldseg.planning.orientation import Orientation, orientation_of


def volume(direction: np.ndarray, axes: str = "zyx") -> Volume:
    return Volume(
        array=np.zeros((1, 2, 3, 4), dtype=np.float32),
        spacing=(1.0, 2.0, 3.0),
        origin=(0.0, 0.0, 0.0),
        direction=tuple(direction.ravel().tolist()),
        axes=axes,  # type: ignore[arg-type]
        kind="image",
    )


def test_an_lps_volume_is_canonical() -> None:
    assert orientation_of(volume(np.eye(3))) == Orientation((0, 1, 2), (False, False, False))


def test_a_time_series_stays_as_it_is_whatever_its_direction() -> None:
    assert orientation_of(volume(-np.eye(3), "tyx")) == Orientation((0, 1, 2), (False, False, False))


def test_a_sagittal_scan_has_its_slices_along_x() -> None:
    # index x runs to posterior, index y to superior, index z to the patient's left
    direction = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    found = orientation_of(volume(direction))
    assert found == Orientation((1, 2, 0), (False, False, False))
    assert found.permuted((10, 20, 30)) == (20, 30, 10)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_orientation_is_found_also_when_oblique(order: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    tilt, _ = np.linalg.qr(np.eye(3) + 0.15 * rng.standard_normal((3, 3)))
    tilt *= np.sign(np.diag(tilt))
    for signs in product((1, -1), repeat=3):
        exact = np.eye(3)[:, order] * signs
        assert orientation_of(volume(tilt @ exact)) == orientation_of(volume(exact))
