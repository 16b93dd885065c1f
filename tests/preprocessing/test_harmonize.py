"""Images that differ from the training images are harmonized, all others stay as they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from preprocessing_grids import plan
from scipy import ndimage

from ldseg.errors import InputError
from ldseg.planning.intensity_statistics import ReferenceRange
from ldseg.planning.plan import ChannelPlan, Plan, read_plan, write_plan
from ldseg.preprocessing import harmonize as module
from ldseg.preprocessing.deviations import BLURRED, CONTRAST, NOISY
from ldseg.preprocessing.harmonize import HarmonizedImage, harmonize
from ldseg.preprocessing.intensity_statistics import (
    ENOUGH_IMAGES,
    band_widths,
    bands,
    blur_block,
    blur_image,
    measure_intensity_statistics,
    quantiles_of_sample,
)
from ldseg.preprocessing.normalize import normalize
from ldseg.preprocessing.preprocess import GridTransform, PreprocessedImage

SHAPES = {"yx": (96, 80), "zyx": (24, 30, 28), "tyx": (6, 48, 44)}
CT = ChannelPlan("CT", "foreground", low=-1000, high=1000, mean=0, deviation=1)
COLOUR = ChannelPlan("red", "range", low=0, high=255)


def scene(axes: str, seed: int) -> np.ndarray:
    """(*S) in 0..1: a soft texture and a brighter ball, a little different for each seed."""
    random = np.random.default_rng(seed)
    shape = SHAPES[axes]
    soft = [0.0 if axis == "t" else 1.5 for axis in axes]
    texture = ndimage.gaussian_filter(random.standard_normal(shape), soft)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    ball = sum(g**2 for g in grid[-2:]) < random.uniform(0.2, 0.3)
    return np.clip(0.25 + 0.05 * texture / texture.std() + 0.4 * ball, 0, 1)


def prepared(unit: np.ndarray, made: Plan) -> PreprocessedImage:
    """As `preprocess_image` makes it of an image whose intensities are 0 to 255 times `unit`."""
    array = normalize(255 * unit[None].astype(np.float32), made.channels)
    return PreprocessedImage(array, GridTransform(None, unit.shape, unit.shape, made.spacing))  # type: ignore[arg-type]


def trained(axes: str, channel: ChannelPlan | None = None) -> Plan:
    """A plan that knows twenty scenes."""
    made = plan(axes) if channel is None else plan(axes, channels=(channel,))
    seen = (prepared(scene(axes, seed), made).array for seed in range(20))
    return replace(made, appearance=measure_intensity_statistics(seen, made))


def error(found: HarmonizedImage | PreprocessedImage, wanted: PreprocessedImage) -> float:
    array = found.image.array if isinstance(found, HarmonizedImage) else found.array
    return float(np.sqrt(np.square(array - wanted.array).mean()))


@pytest.mark.parametrize("axes", SHAPES)
def test_an_image_like_those_of_training_stays_as_it_is(axes: str) -> None:
    made = trained(axes)
    image = prepared(scene(axes, 99), made)
    found = harmonize(image, made)
    assert found.image is image
    assert found.deviations == ()


@pytest.mark.parametrize("channel", [None, COLOUR, CT])
@pytest.mark.parametrize("axes", SHAPES)
def test_noise_is_found_and_most_of_it_taken(axes: str, channel: ChannelPlan | None) -> None:
    made, clean = trained(axes, channel), scene(axes, 99)
    noise = 0.2 * np.random.default_rng(0).standard_normal(clean.shape)
    image, wanted = prepared(clean + noise, made), prepared(clean, made)
    found = harmonize(image, made)
    assert NOISY in found.deviations
    assert error(found, wanted) < 0.6 * error(image, wanted)


@pytest.mark.parametrize("axes", SHAPES)
def test_blur_is_found_and_some_of_it_taken(axes: str) -> None:
    made, clean = trained(axes), scene(axes, 99)
    soft = ndimage.gaussian_filter(clean, [0 if axis == "t" else 2 for axis in axes])
    image, wanted = prepared(soft, made), prepared(clean, made)
    found = harmonize(image, made)
    assert BLURRED in found.deviations
    assert error(found, wanted) < 0.9 * error(image, wanted)


@pytest.mark.parametrize("power", [0.5, 2.0, 3.0])
def test_another_contrast_is_found_and_most_of_it_taken(power: float) -> None:
    made, clean = trained("yx"), scene("yx", 99)
    image, wanted = prepared(clean**power, made), prepared(clean, made)
    found = harmonize(image, made)
    assert found.deviations == (CONTRAST,)
    assert error(found, wanted) < 0.2 * error(image, wanted)


def test_the_numbers_of_ct_keep_their_meaning() -> None:
    """Noise is taken from it, but brightness and contrast are as they were."""
    made, clean = trained("zyx", CT), scene("zyx", 99)
    darker = clean - 0.02
    noise = 0.1 * np.random.default_rng(0).standard_normal(clean.shape)
    found = harmonize(prepared(darker + noise, made), made)
    assert found.deviations == (NOISY,)
    assert found.image.array.mean() == pytest.approx(255 * (darker + noise).mean(), abs=0.5)


def test_brightness_that_noise_took_from_a_picture_in_colour_comes_back() -> None:
    made, clean = trained("yx", COLOUR), scene("yx", 99)
    noise = 0.2 * np.random.default_rng(0).standard_normal(clean.shape)
    faint = 0.3 + 0.4 * (clean + noise)
    found = harmonize(prepared(faint, made), made)
    assert error(found, prepared(clean, made)) < 0.4 * error(prepared(faint, made), prepared(clean, made))


@pytest.mark.parametrize("axes", ["zyx", "tyx"])
def test_filtering_slab_by_slab_is_filtering_the_whole(axes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, clean = trained(axes), scene(axes, 99)
    image = prepared(clean + 0.2 * np.random.default_rng(0).standard_normal(clean.shape), made)
    whole = harmonize(image, made).image.array
    monkeypatch.setattr(module, "_SLAB", 5)
    np.testing.assert_allclose(harmonize(image, made).image.array, whole, atol=1e-5)


def test_only_the_channel_that_is_unlike_changes() -> None:
    one = plan("yx", channels=(ChannelPlan("a", "zscore"), ChannelPlan("b", "zscore")))
    seen = [
        np.concatenate(
            [prepared(scene("yx", n), plan("yx")).array, prepared(scene("yx", 50 + n), plan("yx")).array]
        )
        for n in range(20)
    ]
    made = replace(one, appearance=measure_intensity_statistics(seen, one))
    noise = np.random.default_rng(0).standard_normal(SHAPES["yx"]).astype(np.float32)
    image = replace(prepared(scene("yx", 99), plan("yx")), array=np.stack([seen[3][0], seen[3][1] + noise]))
    found = harmonize(image, made).image.array
    assert np.array_equal(found[0], image.array[0])
    assert not np.array_equal(found[1], image.array[1])


def test_a_picture_keeps_its_hue_where_one_colour_alone_is_noisy() -> None:
    single, both = trained("yx", COLOUR), plan("yx", channels=(COLOUR, replace(COLOUR, name="green")))
    seen = [np.repeat(prepared(scene("yx", n), single).array, 2, axis=0) for n in range(20)]
    made = replace(both, appearance=measure_intensity_statistics(seen, both))
    faint = prepared(0.3 + 0.4 * scene("yx", 99), single)
    noise = 0.05 * np.random.default_rng(0).standard_normal(SHAPES["yx"]).astype(np.float32)
    image = replace(faint, array=np.concatenate([faint.array + noise, faint.array]))
    found = harmonize(image, made)
    assert found.deviations == (NOISY, CONTRAST)
    red, green = found.image.array
    assert abs(red.mean() - green.mean()) < 0.1 * abs(green.mean() - faint.array.mean())


def test_a_constant_channel_stays_as_it_is() -> None:
    made = trained("yx")
    image = prepared(np.full(SHAPES["yx"], 0.5), made)
    assert harmonize(image, made).image is image


def test_a_plan_that_does_not_know_the_images_changes_none() -> None:
    made = plan("yx")
    image = prepared(np.random.default_rng(0).random(SHAPES["yx"]), made)
    assert harmonize(image, made).image is image


def test_a_few_images_say_nothing_of_what_is_usual() -> None:
    made = plan("yx")
    seen = [prepared(scene("yx", seed), made).array for seed in range(ENOUGH_IMAGES)]
    assert measure_intensity_statistics(seen[1:], made) == ()
    assert len(measure_intensity_statistics(seen, made)) == 1


def test_a_large_image_is_looked_at_like_a_small_one() -> None:
    """Of the same texture, in blocks."""
    made = plan("yx")
    random = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(random.standard_normal((900, 900)), 1.5)[None].astype(np.float32)
    large, small = (
        measure_intensity_statistics([part] * 10, made)[0] for part in (texture, texture[:, :250, :250])
    )
    np.testing.assert_allclose(large.band_energy.mean, small.band_energy.mean, atol=0.3)
    np.testing.assert_allclose(large.intensities.mean, small.intensities.mean, atol=0.1)


def test_faint_noise_where_there_is_nothing_else_does_not_make_an_image_noisy() -> None:
    made = plan("yx")
    whole = [np.tile(scene("yx", seed), (7, 8))[:600, :600] for seed in range(12)]
    made = replace(
        made, appearance=measure_intensity_statistics((prepared(one, made).array for one in whole), made)
    )
    random = np.random.default_rng(0)
    nearly_empty = np.full((600, 600), 0.25) + 0.002 * random.standard_normal((600, 600))
    nearly_empty[:, 220:380] = whole[3][:, 220:380]
    assert NOISY not in harmonize(prepared(nearly_empty, made), made).deviations
    noisy = whole[3] + 0.2 * random.standard_normal((600, 600))
    assert NOISY in harmonize(prepared(noisy, made), made).deviations


def test_bands_sum_to_the_image_and_are_as_wide_in_mm_along_all_axes() -> None:
    made = plan("tyx", spacing=(30.0, 1.0, 2.0))
    widths = band_widths(made)
    assert widths[2] == (0.0, 2.0, 1.0)
    values = scene("tyx", 0).astype(np.float32)
    np.testing.assert_allclose(sum(bands(values, widths, blur_image)), values, atol=1e-6)


@pytest.mark.parametrize("width", [(0.6, 4.0, 1.0), (0.0, 2.0, 2.0), (4.0, 1.5)])
def test_a_block_is_blurred_as_an_image_of_any_size_is(width: tuple[float, ...]) -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal((9, 20, 31)[-len(width) :]).astype(np.float32)
    np.testing.assert_allclose(blur_block(values, width), blur_image(values, width), atol=2e-6)


def test_quantiles_of_a_sample_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).standard_normal((7, 41)).astype(np.float32)
    wanted = np.quantile(values, np.linspace(0.001, 0.999, 33))
    np.testing.assert_allclose(quantiles_of_sample(values), wanted, rtol=1e-12)


def test_a_tolerance_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        ReferenceRange((1.0, 2.0), (0.5, 0.0))


def test_an_appearance_that_was_edited_to_other_lengths_is_refused(tmp_path: Path) -> None:
    made, path = trained("yx"), tmp_path / "plan.json"
    write_plan(path, made)
    assert read_plan(path) == made
    stored = json.loads(path.read_text())
    stored["appearance"][0]["follows"].pop()
    path.write_text(json.dumps(stored))
    with pytest.raises(InputError, match="follows has 3 numbers; give 4"):
        read_plan(path)
    with pytest.raises(InputError, match="appearance is of 2 channels; give 1 or none"):
        write_plan(path, replace(made, appearance=2 * made.appearance))
