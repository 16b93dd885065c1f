"""The same picture on another number scale gives the same answer, or is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from preprocessing_grids import plan, volume

from ldseg.data.ranges import ChannelRange, ImageRange, channel_ranges, mixed_scales, white_level
from ldseg.errors import InputError
from ldseg.planning.plan import ChannelPlan, Plan
from ldseg.preprocessing.number_scale import check_content
from ldseg.preprocessing.preprocess import preprocess_image

COLOURS = tuple(ChannelPlan(name, "range", 0.0, 255.0) for name in ("red", "green", "blue"))
CT = ChannelPlan("CT", "foreground", -100.0, 300.0, 50.0, 80.0)
HOUNSFIELD = ChannelRange(("int16",), -1024, 3071, -1000, 1500)


def picture(high: float = 255) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, (3, 20, 24)).astype(np.float32)
    values.flat[:2] = 0, 255
    return values * np.float32(high / 255)


def prepared(array: np.ndarray, stored: str, made: Plan) -> np.ndarray:
    return preprocess_image(replace(volume(array, "yx"), stored=stored), made).array


@pytest.mark.parametrize(
    ("high", "stored"),
    [
        (1, "float32"),
        (1, "float64"),
        (255, "uint16"),
        (255, "int32"),
        (255, "float32"),
        (4095, "uint16"),
        (65535, "uint16"),
        (65535, "int32"),
        (65535, "float32"),
    ],
)
@pytest.mark.parametrize("trained_at", [1.0, 255.0, 65535.0])
def test_a_colour_image_is_the_same_on_every_number_scale(
    high: float, stored: str, trained_at: float
) -> None:
    made = plan("yx", channels=tuple(replace(one, high=trained_at) for one in COLOURS))
    wanted = prepared(picture(), "uint8", made)
    np.testing.assert_allclose(prepared(picture(high), stored, made), wanted, atol=1e-4)
    if trained_at == 255:
        np.testing.assert_allclose(wanted, (picture() - 127.5) / 63.75, atol=1e-5)


def test_what_was_assumed_about_the_numbers_is_said() -> None:
    made = plan("yx", channels=COLOURS)
    twelve = replace(volume(picture(4095), "yx"), stored="uint16")
    assert preprocess_image(twelve, made).notes == (
        "its numbers were read as 12 bits and converted to the 8 bits of training",
    )
    assert preprocess_image(replace(volume(picture(), "yx"), stored="uint8"), made).notes == ()


def test_a_dim_image_of_the_training_images_own_type_keeps_its_scale() -> None:
    made = plan("yx", channels=tuple(replace(one, high=65535.0) for one in COLOURS))
    ranges = channel_ranges([ImageRange("a", "uint16", (0.0,) * 3, (9000.0,) * 3)])
    made = replace(made, ranges=ranges)
    dim = prepared(picture(4000), "uint16", made)
    np.testing.assert_allclose(dim, (picture(4000) - 32767.5) / 16383.75, atol=1e-4)


def test_colours_of_no_known_scale_are_refused() -> None:
    with pytest.raises(InputError, match="no number scale"):
        prepared(picture() / 127.5 - 1, "float32", plan("yx", channels=COLOURS))


def test_a_grey_image_may_have_any_scale() -> None:
    made = plan("yx", channels=(ChannelPlan("MRI", "zscore"),))
    array = picture()[:1]
    wanted = prepared(array, "uint8", made)
    for factor in (1e-4, 1e4):
        np.testing.assert_allclose(prepared(array * np.float32(factor), "float32", made), wanted, atol=1e-4)


@pytest.mark.parametrize(("low", "high"), [(0, 4095), (0, 255), (-1, 1)])
def test_a_ct_image_that_is_not_in_hounsfield_units_is_refused(low: float, high: float) -> None:
    made = replace(plan("yx", channels=(CT,)), ranges=(HOUNSFIELD,))
    array = low + picture()[:1] / 255 * np.float32(high - low)
    with pytest.raises(InputError, match="Hounsfield"):
        prepared(array, "int16", made)


def test_a_ct_image_in_hounsfield_units_is_refused_by_a_model_that_learnt_shifted_ones() -> None:
    made = replace(plan("yx", channels=(CT,)), ranges=(ChannelRange(("int16",), 0, 4095, 0, 3000),))
    with pytest.raises(InputError, match="add it to this image"):
        prepared(-1024 + 12 * picture()[:1], "int16", made)


def test_ct_images_like_those_of_training_and_clipped_ones_are_taken() -> None:
    made = replace(plan("yx", channels=(CT,)), ranges=(HOUNSFIELD,))
    whole = preprocess_image(volume(-1024 + 12 * picture()[:1], "yx"), made)
    clipped = preprocess_image(volume(-160 + 3 * picture()[:1], "yx"), made)
    assert whole.notes == ()
    assert "clipped or shifted" in clipped.notes[0]


def constant(value: float, bright: int = 0) -> np.ndarray:
    array = np.full((1, 100, 100), value, np.float32)
    array.flat[:bright] = value + 100
    return array


@pytest.mark.parametrize("value", [0, 7])
@pytest.mark.parametrize("bright", [0, 1])
def test_an_image_of_one_value_is_refused(value: float, bright: int) -> None:
    made = plan("yx", channels=(ChannelPlan("MRI", "zscore"),))
    with pytest.raises(InputError, match=rf"one value \({value}\) in all"):
        check_content(volume(constant(value, bright), "yx"), made, "flat")


def test_an_image_of_one_value_is_taken_where_training_had_such() -> None:
    made = plan("yx", channels=(ChannelPlan("MRI", "zscore"),))
    made = replace(made, ranges=(ChannelRange(("uint8",), 0, 255, 0, 200, constant=2),))
    assert check_content(volume(constant(7), "yx"), made, "flat") == ()


def test_a_channel_of_one_value_is_named() -> None:
    made = plan("yx", channels=(ChannelPlan("T1", "zscore"), ChannelPlan("T2", "zscore")))
    both = np.concatenate([np.random.default_rng(0).normal(size=(1, 100, 100)), constant(0)])
    notes = check_content(volume(both.astype(np.float32), "yx"), made, "one")
    assert notes == ("channel T2 has one value (0) in nearly all voxels",)
    assert check_content(volume(constant(3, bright=50), "yx"), made, "small") == ()


def of(stored: str, low: float, high: float, name: str = "a") -> ImageRange:
    return ImageRange(name, stored, (low,) * 3, (high,) * 3)


def test_a_set_that_mixes_number_scales_is_reported() -> None:
    usual = [of("uint8", 0, 255, f"u{n}") for n in range(3)]
    assert mixed_scales(usual, colour=True) == ()
    (said,) = mixed_scales([*usual, of("float32", 0, 1, "f")], colour=True)
    assert "3 with 8 bits (e.g. u0), 1 with values from 0 to 1 (e.g. f)" in said
    assert mixed_scales([*usual, of("float32", 0, 1, "f")], colour=False) == ()


def test_a_set_of_ct_images_of_which_some_lack_their_offset_is_reported() -> None:
    ct = [of("int16", -1024, 2000, f"c{n}") for n in range(4)]
    assert mixed_scales(ct, colour=False) == ()
    said = mixed_scales([*ct, of("int16", 0, 3000, "shifted")], colour=False)
    assert "1 of 5 images have no value below 0, e.g. shifted" in said[0]


def test_the_white_level_is_that_of_the_type_or_of_the_smallest_range_that_holds_the_numbers() -> None:
    assert white_level("uint8", 0, 3) == 255
    assert white_level("float32", -0.01, 1.02) == 1
    assert white_level("uint16", 0, 256) == 4095
    assert white_level("uint16", 0, 4096) == 65535
    assert white_level("uint32", 0, 1e9) == 2**32 - 1
    assert white_level("int16", -5, 100) is None
