"""The coherence is that whose samples tell volumes best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ldseg.data.cases import Case
from ldseg.data.dataset import open_dataset
from ldseg.data.formats import write_volume
from ldseg.data.volume import volume_of_array
from ldseg.evaluation import coherence_fit
from ldseg.evaluation.coherence_fit import LENGTHS, fit_coherence, ranked_score, sample_volumes
from ldseg.inference.coherence import Coherence
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import Calibration

MakeModel = Callable[..., Path]


def folder(root: Path, cases: int) -> Path:
    """Images and masks of random values."""
    rng = np.random.default_rng(0)
    for number in range(cases):
        image = volume_of_array(rng.integers(0, 255, (32, 40)).astype(np.uint8), "yx")
        mask = volume_of_array(rng.choice([0, 2, 5], (32, 40)).astype(np.uint8), "yx")
        for name, one in (("images", image), ("masks", mask)):
            (root / name).mkdir(parents=True, exist_ok=True)
            write_volume(root / name / f"{number}.png", one)
    return root


def test_the_score_of_a_volume_is_least_for_the_distribution_it_is_drawn_from() -> None:
    rng = np.random.default_rng(0)
    truths = rng.normal(100, 10, 400)
    scores = [
        np.mean([ranked_score(rng.normal(100, spread, 16), truth) for truth in truths])
        for spread in (1, 5, 10, 20, 40)
    ]
    assert int(np.argmin(scores)) == 2
    assert scores[2] == pytest.approx(10 / np.sqrt(np.pi), rel=0.1)  # of a normal distribution


@pytest.mark.parametrize("best", [0, 3, len(LENGTHS)])
def test_the_choice_with_the_least_error_is_taken(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    predictor = Predictor.load(make_model("yx", "none"), "cpu", calibrated=False)
    dataset = open_dataset(folder(tmp_path / "data", 2))

    def volumes(*_: Any) -> NDArray[np.float64]:
        spread = np.linspace(-1, 1, 4)[None, :, None] * np.ones((1 + len(LENGTHS), 1, 3))
        spread += 50
        spread[best] -= 40
        return spread

    monkeypatch.setattr(coherence_fit, "sample_volumes", volumes)
    true = {case.name: {"left": [10.0], "right": [10.0]} for case in dataset.cases}
    sampling = predictor.sampling(samples=4)
    found = fit_coherence(predictor, dataset, dataset.cases, true, sampling, 1.5, 0)
    assert found == (None if best == 0 else Coherence(LENGTHS[best - 1], 1.5))
    assert fit_coherence(predictor, dataset, dataset.cases, {}, sampling, 1.5, 0) is None


@pytest.mark.parametrize("coherence", [None, Coherence(2.0, 1.5)])
def test_volumes_are_those_that_a_prediction_has(make_model: MakeModel, coherence: Coherence | None) -> None:
    plain = Predictor.load(make_model("yx", "none"), "cpu", calibrated=False)
    predictor = plain.with_changes(calibration=Calibration(coherence=coherence))
    volume = volume_of_array(np.random.default_rng(0).normal(size=(40, 56)).astype(np.float32), "yx")
    case = Case("image", (Path("image.png"),), (), "image")
    found = sample_volumes(plain, volume, case, plain.sampling(samples=4), (coherence,), 0)
    predicted = predictor(volume, case.name, samples=4).sample_volumes
    for k, name in enumerate(list(plain.plan.classes)[1:], start=1):
        np.testing.assert_allclose(found[0, :, k], predicted[name], rtol=1e-5)
