"""Ambiguity of a small model on a set with three raters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ldseg.data.dataset import DataOptions, open_dataset
from ldseg.data.formats import write_volume
from ldseg.data.volume import Volume
from ldseg.evaluation.ambiguity import evaluate_ambiguity, summarize
from ldseg.inference.predictor import Predictor
from ldseg.metrics.ambiguity import AmbiguityMetrics
from ldseg.utils.serialization import to_json

MakeModel = Callable[..., Path]


def test_the_mean_is_over_cases() -> None:
    one, other = AmbiguityMetrics(0, 1, 1, 0, 0, 1, 1), AmbiguityMetrics(1, 0, 0, 1, 1, 0, 0)
    assert summarize({"a": one, "b": other}, 4).mean == AmbiguityMetrics(*[0.5] * 7)
    with pytest.raises(ValueError, match="no cases"):
        summarize({}, 4)


def test_a_model_is_held_against_its_raters(make_model: MakeModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for case in "ab":
        image = Volume(
            rng.integers(0, 255, (1, 18, 20)).astype(np.float32),
            (1.0, 1.0),
            (0.0, 0.0),
            (1.0, 0.0, 0.0, 1.0),
            "yx",
            "image",
        )
        write_volume(tmp_path / "set" / "images" / f"{case}.png", image)
        for rater in (1, 2, 3):
            ids = np.zeros((1, 18, 20), np.uint8)
            ids[0, 3 * rater :, 4:9], ids[0, :, 12:] = 2, 5
            write_volume(
                tmp_path / "set" / "labels" / f"{case}_rater{rater}.png", image.with_array(ids, "labels")
            )
    dataset = open_dataset(tmp_path / "set", DataOptions())
    predictor = Predictor.load(make_model(channels=1), "cpu")
    found = evaluate_ambiguity(predictor, dataset, dataset.cases, samples=4, steps=2, seed=3)
    assert (list(found.cases), found.samples) == (["a", "b"], 4)
    assert found.mean.rater_diversity > 0
    assert json.dumps(to_json(found), allow_nan=False)
    assert evaluate_ambiguity(predictor, dataset, dataset.cases, samples=4, steps=2, seed=3) == found
