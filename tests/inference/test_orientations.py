"""However an image lies in space, its prediction lies there too, and says the same of the same body."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from places import ENDINGS, ORIENTATIONS, place, write
from volume_builders import rotation

from ldseg.data.inputs import find_inputs
from ldseg.data.volume import Volume
from ldseg.inference.predict_cases import PredictOptions, predict_cases
from ldseg.inference.predictor import Predictor

MakeModel = Callable[..., Path]


@pytest.mark.parametrize("ending", ENDINGS)
def test_predictions_of_all_orientations_lie_bit_for_bit_where_the_images_lie(
    make_model: MakeModel, tmp_path: Path, ending: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, turn in enumerate(ORIENTATIONS):
        write(images / f"o{number}{ending}", turn @ rotation(3, number) if number % 2 else turn, number)
    predictor = Predictor.load(make_model("zyx"), "cpu")
    predict_cases(predictor, find_inputs([images], 1), tmp_path / "out", PredictOptions(samples=1))
    for path in images.iterdir():
        assert place(tmp_path / "out" / path.name) == place(path), path.name


def turned(body: np.ndarray, steps: np.ndarray, frame: np.ndarray, turn: np.ndarray) -> Volume:
    """The body (X, Y, Z), voxels of `steps` along the columns of `frame`, its axes stored otherwise."""
    axes, signs = (
        np.abs(turn).argmax(0),
        turn.sum(0),
    )  # of each stored axis: which of the body's, and its sign
    stored = np.flip(body.transpose(axes), [n for n in range(3) if signs[n] < 0])
    corner = np.array([0 if signs[list(axes).index(n)] > 0 else body.shape[n] - 1 for n in range(3)])
    return Volume(
        array=np.ascontiguousarray(stored.transpose(2, 1, 0)[None]),
        spacing=tuple(steps[axes][::-1].tolist()),
        origin=tuple((frame @ (corner * steps)).tolist()),
        direction=tuple((frame @ turn).ravel().tolist()),
        axes="zyx",
        kind="image",
    )


@pytest.mark.parametrize("frame", [np.eye(3), rotation(3, 4)], ids=["straight", "oblique"])
def test_the_answer_does_not_depend_on_the_order_in_which_voxels_are_stored(
    make_model: MakeModel, frame: np.ndarray
) -> None:
    predictor = Predictor.load(make_model("zyx"), "cpu")
    steps = np.array([0.8, 1.0, 1.7])
    body = np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)
    wanted: np.ndarray | None = None
    for turn in ORIENTATIONS:
        labels = predictor(turned(body, steps, frame, turn), "case").labels.array[0].transpose(2, 1, 0)
        axes, signs = np.abs(turn).argmax(0), turn.sum(0)
        back = np.flip(labels, [n for n in range(3) if signs[n] < 0]).transpose(np.argsort(axes))
        wanted = back if wanted is None else wanted
        np.testing.assert_array_equal(back, wanted)
    assert wanted is not None
    assert len(np.unique(wanted)) > 1
