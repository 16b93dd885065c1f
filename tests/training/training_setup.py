"""A data set of small 2D pictures and one step budget, for trainings of seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ldseg.data.dataset import DataSet, open_dataset
from ldseg.data.splits import Splits, make_splits
from ldseg.planning.fingerprint import take_fingerprint
from ldseg.planning.plan import Plan, PlanSettings, make_plan
from ldseg.presets import PRESETS
from ldseg.settings import RunSettings
from ldseg.training.trainer import OnEvent, TrainingResult, train
from ldseg.utils.distributed import SINGLE_PROCESS, DistributedContext


def write_pictures(folder: Path, cases: int = 6, size: int = 32) -> None:
    """Grey pictures with a brighter square, which is class 1."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for case in range(cases):
        labels = np.zeros((size, size), np.uint8)
        y, x = rng.integers(2, size - 14, 2)
        labels[y : y + 12, x : x + 12] = 1
        image = 60 + 120 * labels + rng.integers(0, 40, labels.shape)
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"case{case}.png")
        Image.fromarray(labels).save(folder / "labels" / f"case{case}.png")


@dataclass(frozen=True)
class Setup:
    """All that a training takes, but for its folder."""

    dataset: DataSet
    plan: Plan
    splits: Splits
    settings: RunSettings

    def run(
        self,
        folder: Path,
        resume: bool = False,
        context: DistributedContext = SINGLE_PROCESS,
        on_event: OnEvent = lambda _: None,
        **training: object,
    ) -> TrainingResult:
        settings = replace(self.settings, training=replace(self.settings.training, **training))  # type: ignore[arg-type]
        return train(
            self.dataset, self.plan, self.splits, settings, folder, resume, on_event, context=context
        )


def make_setup(tmp_path: Path) -> Setup:
    write_pictures(tmp_path / "data")
    dataset = open_dataset(tmp_path / "data")
    plan = make_plan(take_fingerprint(dataset, dataset.cases), dataset, PlanSettings(batch=2))
    plan = replace(plan, widths=tuple(8 for _ in plan.widths), latent_channels=4)
    settings = PRESETS["default"](plan)
    settings = replace(settings, training=replace(settings.training, steps=4, validations=2))
    return Setup(dataset, plan, make_splits(dataset.cases, folds=3), settings)
