"""Intensities."""

import numpy as np

from ldseg.planning.plan import ChannelPlan
from ldseg.preprocessing.normalize import normalize

RAMP = np.linspace(0, 255, 1000, dtype=np.float32).reshape(1, 10, 100)


def test_zscore_forgets_gain_and_offset() -> None:
    plan = (ChannelPlan("MRI", "zscore"),)
    one, other = normalize(RAMP, plan), normalize(1e4 * RAMP + 3e5, plan)
    assert abs(one.mean()) < 1e-5
    assert abs(one.std() - 1) < 1e-5
    np.testing.assert_allclose(one, other, atol=1e-3)
    assert one.dtype == np.float32


def test_a_tiny_scale_is_still_content() -> None:
    assert abs(normalize(1e-7 * RAMP, (ChannelPlan("MRI", "zscore"),)).std() - 1) < 1e-3


def test_a_constant_image_becomes_finite_and_constant() -> None:
    schemes = (
        ChannelPlan("a", "zscore"),
        ChannelPlan("b", "foreground", 0, 0, 0, 0),
        ChannelPlan("c", "range", 5, 5),
        ChannelPlan("d", "minmax"),
    )
    assert not normalize(np.full((2, 4, 4), 7, np.float32), (ChannelPlan("a", "unit"),) * 2).any()
    for value in (0.0, 1e-30, 0.1, 3e7):
        result = normalize(np.full((4, 4, 4), value, dtype=np.float32), schemes)
        assert np.isfinite(result).all()
        assert np.ptp(result, axis=(1, 2)).max() == 0


def test_foreground_clips_and_uses_the_sets_statistics() -> None:
    result = normalize(RAMP, (ChannelPlan("CT", "foreground", 50, 150, 100, 20),))
    assert result.min() == -2.5
    assert result.max() == 2.5


def test_range_is_the_same_for_each_image_and_channel() -> None:
    result = normalize(RAMP, (ChannelPlan("R", "range", 0, 255),))
    np.testing.assert_allclose([result.min(), result.max()], [-2, 2], atol=1e-6)


def test_minmax_brings_the_images_own_values_to_the_range_of_colours() -> None:
    plan = (ChannelPlan("rescale_to_0_1", "minmax"),)
    one, other = normalize(RAMP, plan), normalize(7 * RAMP - 300, plan)
    assert (one.min(), one.max()) == (-2, 2)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_no_normalisation_leaves_the_values() -> None:
    np.testing.assert_array_equal(normalize(RAMP, (ChannelPlan("noNorm", "none"),)), RAMP)


def test_unit_brings_all_channels_of_an_image_together_to_one_range() -> None:
    image = np.concatenate([RAMP, 2 * RAMP + 10])
    result = normalize(image, (ChannelPlan("R", "unit"), ChannelPlan("G", "unit")))
    np.testing.assert_allclose(result, (image - image.min()) / np.ptp(image), atol=1e-6)
    assert (result.min(), result.max()) == (0, 1)
