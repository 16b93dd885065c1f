"""A lazily read image is harmonized as an image in memory is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from preprocessing_grids import plan
from scipy import ndimage

from ldseg.planning.plan import ChannelPlan, Plan
from ldseg.preprocessing import lazy_image as module
from ldseg.preprocessing.deviations import BLURRED, CONTRAST, NOISY
from ldseg.preprocessing.harmonize import HarmonizedImage, harmonize
from ldseg.preprocessing.intensity_statistics import measure_intensity_statistics
from ldseg.preprocessing.lazy_image import TransformedImage
from ldseg.preprocessing.normalize import normalize
from ldseg.preprocessing.preprocess import GridTransform, PreprocessedImage

SHAPE = (300, 270)
RANGE, ZSCORE = ChannelPlan("red", "range", low=0, high=255), ChannelPlan("a", "zscore")
CT = ChannelPlan("CT", "foreground", low=0, high=255, mean=100, deviation=40)
Picture = NDArray[np.float64]


def picture(seed: int) -> Picture:
    """(2, *SHAPE) in 0..1."""
    random = np.random.default_rng(seed)
    soft = ndimage.gaussian_filter(random.standard_normal((2, *SHAPE)), (0, 2, 2))
    return 0.5 + 0.1 * soft / soft.std()


def prepared(unit: Picture, made: Plan) -> PreprocessedImage:
    array = normalize(255 * unit.astype(np.float32), made.channels)
    return PreprocessedImage(array, GridTransform(None, SHAPE, SHAPE, made.spacing))  # type: ignore[arg-type]


def lazily_read(image: PreprocessedImage) -> TransformedImage:
    """Return the image as one of which only patches can be read."""
    return TransformedImage(image, {}, 0)


def trained(channel: ChannelPlan) -> Plan:
    made = plan("yx", channels=(channel, replace(channel, name="b")))
    seen = (prepared(picture(seed), made).array for seed in range(12))
    return replace(made, appearance=measure_intensity_statistics(seen, made))


def noisy(clean: Picture) -> Picture:
    return clean + 0.05 * np.random.default_rng(0).standard_normal(clean.shape)


def noisy_in_one(clean: Picture) -> Picture:
    return np.stack([noisy(clean)[0], clean[1]])


def blurred(clean: Picture) -> Picture:
    return ndimage.gaussian_filter(clean, (0, 2, 2))


def darkened(clean: Picture) -> Picture:
    return clean.clip(0, 1) ** 4


def constant_beside_noise(clean: Picture) -> Picture:
    return np.stack([np.full(SHAPE, 0.3), noisy(clean)[1]])


@pytest.mark.parametrize("channel", [RANGE, ZSCORE, CT], ids=lambda channel: channel.scheme)
@pytest.mark.parametrize(
    ("worsen", "way"),
    [
        (noisy, NOISY),
        (noisy_in_one, NOISY),
        (blurred, BLURRED),
        (darkened, CONTRAST),
        (constant_beside_noise, NOISY),
    ],
)
def test_regions_are_those_of_the_whole(
    channel: ChannelPlan, worsen: Callable[[Picture], Picture], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TILE", 70)
    made = trained(channel)
    image = prepared(worsen(picture(99)), made)
    whole, found = harmonize(image, made), harmonize(lazily_read(image), made)
    lazy, deviations = found.image, found.deviations
    assert (deviations, found.certain_deviations) == (whole.deviations, whole.certain_deviations)
    assert way in deviations or (way == CONTRAST and channel.scheme != "zscore")
    for corner, patch in (((0, 0), SHAPE), ((40, 100), (64, 32)), ((280, 250), (64, 64))):
        np.testing.assert_allclose(
            lazy.read(corner, patch), whole.image.read(corner, patch), atol=2e-4, rtol=1e-4
        )


def test_an_image_like_those_of_training_is_read_as_it_is() -> None:
    made = trained(RANGE)
    image = lazily_read(prepared(picture(99), made))
    assert harmonize(image, made) == HarmonizedImage(image, (), ())


def test_a_plan_that_does_not_know_the_images_changes_none() -> None:
    made = plan("yx", channels=(RANGE, replace(RANGE, name="b")))
    image = lazily_read(prepared(noisy(picture(99)), made))
    assert harmonize(image, made) == HarmonizedImage(image, (), ())
