"""Of an image and its harmonized version, the one whose answers agree better is segmented."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ldseg.inference.backends.backend import Backend, TileBlock, TileSampler
from ldseg.inference.predictor import Predictor
from ldseg.inference.sliding_window import make_tiling
from ldseg.inference.view_agreement import agrees_better, tta_agreement
from ldseg.planning.plan import Plan
from ldseg.preprocessing.preprocess import GridTransform, PreprocessedImage
from ldseg.settings import SamplingSettings

MakeModel = Callable[..., Path]
SHAPE = (16, 16)


@dataclass(frozen=True)
class Looking:
    """An backend whose structure is wherever the image is above 0, and on the left side where all is 5."""

    latent_factor: tuple[int, ...] = (4, 4)
    stochastic: bool = True
    classes: int = 2
    deterministic_predictions: int = 0

    def resolve_sampling(self, sampling: SamplingSettings) -> SamplingSettings:
        return sampling

    def tiles(self, sampling: SamplingSettings, seed: int, name: str, tta_axis: int | None) -> TileSampler:
        del sampling, seed, name, tta_axis
        return self

    def blocks(self, x: Tensor, corner: Sequence[int], samples: range) -> Iterator[TileBlock]:
        del corner
        left = torch.zeros_like(x[0])
        left[:, : x.shape[-1] // 2] = 1
        lost = bool((x[0] == 5).all())
        structure = left if lost else (x[0] > 0).float()
        for number in samples:
            yield TileBlock(torch.stack([1 - structure, structure])[None], range(number, number + 1))


def image(values: np.ndarray) -> PreprocessedImage:
    return PreprocessedImage(values[None].astype(np.float32), GridTransform(None, SHAPE, SHAPE, (1.0, 1.0)))  # type: ignore[arg-type]


@pytest.fixture
def plan(make_model: MakeModel) -> Plan:
    found = Predictor.load(make_model(), "cpu").plan
    return replace(found, classes={"background": 0, "object": 1}, mirror_axes=(1,), patch=SHAPE)


def test_answers_that_follow_the_image_agree_wholly_and_others_do_not(plan: Plan) -> None:
    backend: Backend = Looking()
    tiling = make_tiling(SHAPE, SHAPE, (4, 4))
    seen = image(np.random.default_rng(0).standard_normal(SHAPE))
    lost = image(np.full(SHAPE, 5.0))
    asked = (backend, plan, tiling, SamplingSettings(), "case")
    assert tta_agreement(seen, *asked) == pytest.approx(1)
    assert tta_agreement(lost, *asked) < 0.1
    assert agrees_better(seen, lost, *asked)
    assert not agrees_better(lost, seen, *asked)
    assert not agrees_better(seen, seen, *asked)


def test_a_model_that_was_not_mirrored_is_judged_by_two_samples(plan: Plan) -> None:
    plan = replace(plan, mirror_axes=())
    tiling = make_tiling(SHAPE, SHAPE, (4, 4))
    lost = image(np.full(SHAPE, 5.0))
    assert tta_agreement(lost, Looking(), plan, tiling, SamplingSettings(), "case") == pytest.approx(1)


def test_without_an_axis_to_flip_two_samples_are_drawn_though_the_model_predicts_without_noise(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.load(make_model(), "cpu")
    assert predictor.settings.sampling.single_call
    assert predictor.plan.mirror_axes == ()
    asked: list[SamplingSettings] = []

    def note(*arguments: object) -> bool:
        asked.append(arguments[-2])  # type: ignore[arg-type]
        return False

    monkeypatch.setattr("ldseg.inference.predictor.agrees_better", note)
    seen, changed = image(np.zeros(SHAPE)), image(np.ones(SHAPE))
    predictor.choose_input(seen, changed, ((), ()), (), "case")
    predictor.plan = replace(predictor.plan, mirror_axes=(1,))
    predictor.choose_input(seen, changed, ((), ()), (), "case")
    assert asked == [predictor.settings.posterior, predictor.settings.sampling]
