"""What a predictor takes as an image: a volume, a path, an array; and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from predicting import image, loaded, same

from ldseg.data.formats import read_volume, write_volume
from ldseg.data.inputs import find_inputs
from ldseg.data.volume import volume_of_array
from ldseg.errors import InputError
from ldseg.inference.predict_cases import PredictOptions, predict_cases
from ldseg.inference.predictor import Predictor

MakeModel = Callable[..., Path]


def test_an_image_that_does_not_fit_is_refused_by_its_file(make_model: MakeModel) -> None:
    predictor, good = loaded(make_model()), image("yx", (16, 16))
    broken = good.with_array(np.where(good.array > 2, np.nan, good.array), "image")
    for volume in (broken, image("zyx", (4, 4, 4)), image("yx", (16, 16), channels=2)):
        with pytest.raises(InputError, match=r"^x/a\.png: has "):
            predictor(volume, "a", source="x/a.png")


def test_a_grey_image_is_segmented_by_a_colour_model_as_three_equal_channels(make_model: MakeModel) -> None:
    predictor = loaded(make_model(channels=3))
    ranges = tuple(replace(channel, scheme="range") for channel in predictor.plan.channels)
    predictor.plan = replace(predictor.plan, channels=ranges)
    drawn = image("yx", (16, 16))
    grey = drawn.with_array((100 + 20 * drawn.array).round().clip(0, 255), "image")
    colour = grey.with_array(np.repeat(grey.array, 3, axis=0), "image")
    assert same(predictor(grey), predictor(colour))


def test_one_channel_does_not_stand_for_three_that_are_no_colours(make_model: MakeModel) -> None:
    with pytest.raises(InputError, match="has 1 channels, the plan has 3"):
        loaded(make_model(channels=3))(image("yx", (16, 16)))


def test_a_colour_image_with_equal_channels_is_segmented_by_a_grey_model(make_model: MakeModel) -> None:
    predictor, grey = loaded(make_model()), image("yx", (16, 16))
    colour = grey.with_array(np.repeat(grey.array, 3, axis=0), "image")
    assert same(predictor(colour), predictor(grey))


def test_a_path_is_segmented_as_the_command_does(make_model: MakeModel, tmp_path: Path) -> None:
    predictor, path = loaded(make_model()), tmp_path / "a.nii.gz"
    write_volume(path, image("yx", (16, 16)))
    predict_cases(predictor, find_inputs([path], 1, "yx"), tmp_path / "out", PredictOptions())
    labels = read_volume(tmp_path / "out" / "a.nii.gz", "labels", "yx").array
    np.testing.assert_array_equal(predictor(path).labels.array, labels)
    np.testing.assert_array_equal(predictor(str(path)).labels.array, labels)


def test_a_folder_of_several_images_is_no_image(make_model: MakeModel, tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, image("yx", (16, 16)))
    with pytest.raises(InputError, match="holds 2 images; give the path of one of them"):
        loaded(make_model())(tmp_path)


def test_a_device_that_is_not_here_is_refused(make_model: MakeModel) -> None:
    with pytest.raises(InputError, match="device 'nonsense' cannot be used here"):
        Predictor.load(make_model(), "nonsense")


@pytest.mark.parametrize(
    "axes, name, spacing", [("zyx", "scan.nii.gz", (2.0, 1.0, 0.5)), ("yx", "scan.png", None)]
)
def test_an_array_is_segmented_as_its_file(
    make_model: MakeModel, tmp_path: Path, axes: str, name: str, spacing: tuple[float, ...] | None
) -> None:
    shape = (6, 16, 20)[-len(axes) :]
    array = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    volume = volume_of_array(array, axes, spacing)  # type: ignore[arg-type]
    write_volume(tmp_path / name, volume.with_array(array[None], "labels"))  # labels keep their integers
    predictor = loaded(make_model(axes))
    of_file = predictor(tmp_path / name, samples=2)
    for given in (array, array[None]):
        found = predictor(given, "scan", samples=2, spacing=spacing)
        assert same(found, of_file)
        assert (found.volumes, found.volume_unit) == (of_file.volumes, of_file.volume_unit)
        assert found.labels.spacing == pytest.approx(of_file.labels.spacing)


def test_an_array_of_other_axes_or_spacing_is_refused(make_model: MakeModel) -> None:
    predictor, array = loaded(make_model("yx")), np.zeros((16, 16), np.float32)
    with pytest.raises(InputError, match="give numbers on the axes y, x, channels first"):
        predictor(array[0])
    for spacing in ((1.0,), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(InputError, match="give a size above 0 for each of y, x"):
            predictor(array, spacing=spacing)
    with pytest.raises(InputError, match="spacing is given for an image that has its own"):
        predictor(image("yx", (16, 16)), spacing=(1.0, 1.0))
