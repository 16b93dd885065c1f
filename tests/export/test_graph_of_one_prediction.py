"""A graph that was exported for a single prediction says that it draws no samples."""

from __future__ import annotations

import pytest
from predicting import image

from ldseg.errors import InputError
from ldseg.inference.backends.onnx_backend import load_onnx_predictor


@pytest.mark.parametrize(
    "asked, finding",
    [
        ({"samples": 2}, "samples is 2, the graph was made with 1; leave out --samples, or export"),
        ({"steps": 4}, "steps is 4, the graph was made with 1; leave out --steps, or export"),
        ({"tta": False}, "tta is False, the graph was made with True; leave out --tta, or export"),
    ],
)
def test_a_graph_of_one_prediction_draws_no_samples(make_export, asked, finding: str) -> None:  # type: ignore[no-untyped-def]
    predictor = load_onnx_predictor(make_export("yx", "none", steps=1, samples=3).onnx)
    with pytest.raises(InputError, match=finding):
        predictor(image("yx", (20, 27)), **asked)
    with pytest.raises(InputError, match=finding):
        predictor.posterior_sampling(**asked)
    assert predictor.posterior_sampling() == predictor.sampling(steps=1, samples=1)


def test_the_graph_of_a_deterministic_model_says_that_it_draws_no_samples(make_export) -> None:  # type: ignore[no-untyped-def]
    predictor = load_onnx_predictor(make_export("yx", "unet", steps=2, samples=2).onnx)
    found = predictor(image("yx", (20, 27)), samples=2)
    assert found.notes[-1:] == ("the model is deterministic and gives one prediction, not 2 samples",)
    with pytest.raises(InputError, match="tta is True, the graph was made with False"):
        predictor(image("yx", (20, 27)), tta=True)
