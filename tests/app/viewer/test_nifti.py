"""Bytes for the browser: the same numbers in the same place."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from ldseg.app.viewer.nifti import LONGEST, MOST, compact, downsampling_steps, to_nifti
from ldseg.data.volume import Volume

UNIT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
OBLIQUE = (0.0, 0.6, 0.8, 1.0, 0.0, 0.0, 0.0, 0.8, -0.6)


def volume(shape: tuple[int, ...], axes: str, direction: tuple[float, ...] = UNIT) -> Volume:
    array = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    d = len(shape)
    spacing, origin = (3.0, 2.0, 1.0)[:d], (10.0, -20.0, 30.0)[:d]
    return Volume(array, spacing, origin, direction if d == 3 else (1.0, 0.0, 0.0, 1.0), axes, "image")  # type: ignore[arg-type]


def read(content: bytes) -> Nifti1Image:
    return nib.Nifti1Image.from_bytes(content)


@pytest.mark.parametrize("direction", [UNIT, OBLIQUE])
def test_a_volume_keeps_its_voxels_and_its_place(direction: tuple[float, ...]) -> None:
    image = volume((4, 5, 6), "zyx", direction)
    found = read(to_nifti(image.array[0], image, (1, 1, 1)))
    np.testing.assert_array_equal(np.asarray(found.dataobj), image.array[0].T)
    assert found.affine is not None
    index = np.array([4, 3, 2])  # x, y, z
    columns = np.asarray(direction).reshape(3, 3)
    lps = np.asarray(image.origin) + columns @ (index * [1.0, 2.0, 3.0])
    np.testing.assert_allclose((found.affine @ [*index, 1])[:3], lps * [-1, -1, 1], atol=1e-5)


def test_a_downsampled_volume_stays_in_its_place() -> None:
    image = volume((9, 8, 7), "zyx", OBLIQUE)
    whole, thin = (read(to_nifti(image.array[0], image, steps)) for steps in ((1, 1, 1), (2, 3, 4)))
    assert thin.shape == (2, 3, 5)
    assert whole.affine is not None
    assert thin.affine is not None
    np.testing.assert_array_equal(np.asarray(thin.dataobj)[1, 2, 3], image.array[0, 6, 6, 4])
    np.testing.assert_allclose(thin.affine @ [1, 2, 3, 1], whole.affine @ [4, 6, 6, 1], atol=1e-5)


def test_a_picture_lies_like_a_transverse_slice() -> None:
    """Columns towards the patient's left and rows towards the back: so it is drawn as it is."""
    image = volume((4, 5), "yx")
    found = read(to_nifti(image.array[0], image, (1, 1)))
    assert found.shape == (5, 4, 1)
    assert found.affine is not None
    np.testing.assert_allclose(np.diag(found.affine), [-2.0, -3.0, 1.0, 1.0])
    assert nib.aff2axcodes(found.affine) == ("L", "P", "S")


def test_a_film_has_its_frames_last() -> None:
    image = volume((3, 4, 5), "tyx")
    found = read(to_nifti(image.array[0], image, (1, 1, 1)))
    assert found.shape == (5, 4, 1, 3)
    np.testing.assert_array_equal(np.asarray(found.dataobj)[:, :, 0, 2], image.array[0, 2].T)
    assert found.header["pixdim"][4] == 3.0


def test_colors_stay_colors() -> None:
    image = volume((4, 5), "yx")
    colors = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    found = np.asarray(read(to_nifti(colors, image, (1, 1))).dataobj)
    assert found.shape == (5, 4, 1)
    np.testing.assert_array_equal(
        np.stack([found[name] for name in "RGB"], -1)[:, :, 0], colors.swapaxes(0, 1)
    )


@pytest.mark.parametrize(
    "values, kind",
    [
        ([0, 255], np.uint8),
        ([0.0, 255.0], np.uint8),
        ([-1, 300], np.int16),
        ([0.5, 1.0], np.float32),
        ([0, 40000], np.float32),
        ([-40000.0, 0.0], np.float32),
    ],
)
def test_numbers_take_no_more_room_than_they_need(values: list[float], kind: type) -> None:
    found = compact(np.array(values))
    assert found.dtype == kind
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    "axes, shape, steps",
    [
        ("yx", (LONGEST, 1), (1, 1)),
        ("yx", (LONGEST + 1, 5), (2, 2)),
        ("yx", (8000, 8000), (4, 4)),
        ("zyx", (512, 512, 256), (1, 1, 1)),
        ("zyx", (512, 512, 512), (2, 2, 2)),
        ("tyx", (4 * MOST, 2, 2), (1, 2, 2)),
        ("tyx", (3000, 100, 100), (1, 1, 1)),
    ],
)
def test_what_is_larger_than_browsers_hold_is_downsampled_but_no_frame_is_left_out(
    axes: str, shape: tuple[int, ...], steps: tuple[int, ...]
) -> None:
    assert downsampling_steps(shape, axes) == steps  # type: ignore[arg-type]
