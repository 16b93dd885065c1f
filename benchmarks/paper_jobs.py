"""Trainings that are compared with the paper: variants, sets at a fixed size, and scores on validation cases.

A variant is a preset with or without our augmentation, or a deterministic network: `paper_deterministic` has
the paper's image encoder and label decoder with nothing between, `unet` the parts of the default preset. As
in the paper, 2D images are resized to a square. Trained is fold 0 of the cases outside of the test part;
scored are its validation cases, on the network's grid.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ldseg.api import make_settings
from ldseg.data.dataset import DataSet, load_image, load_labels, open_dataset
from ldseg.data.splits import Splits, make_splits
from ldseg.methods.base import Segmenter
from ldseg.metrics.dice import dice
from ldseg.planning.plan import Plan, PlanSettings
from ldseg.preprocessing.cache import Cache
from ldseg.presets import with_preset_limits
from ldseg.runs.files import CACHE_FOLDER, PLAN_FILE, STATE_FILE
from ldseg.runs.run_setup import fingerprint_and_plan
from ldseg.runs.saved_model import load_model
from ldseg.settings import AugmentSettings, RunSettings, SamplingSettings
from ldseg.training.patch_dataset import central_patch
from ldseg.training.trainer import train
from ldseg.utils.device import autocast
from ldseg.utils.serialization import to_json
from sets import SETS, SPLIT_SEED, TEST_FRACTION
from trainings import INTERRUPTED

FOLD = 0
SIDE = 256
STEPS = (2, 3, 5, 15, 50)
NOISES = (0.0, 0.05, 0.1, 0.15, 0.2)
"""Standard deviations of Gaussian noise on an image scaled to 0..1, which is scaled to 0..1 again."""
TOGETHER = 16
"""Images of one call of a network."""


@dataclass(frozen=True)
class Variant:
    """What is trained."""

    preset: str = "paper"
    baseline: str = "none"
    augmented: bool = False
    """Whether the default preset's augmentation takes the place of the preset's own."""
    normalization: str | None = None
    """Of the plan; None takes the preset's."""
    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    """Settings that differ from the preset's."""


VARIANTS = {
    "paper": Variant(),
    "paper_augmented": Variant(augmented=True),
    "paper_deterministic": Variant(baseline="unet"),
    "paper_deterministic_augmented": Variant(baseline="unet", augmented=True),
    "default": Variant("default"),
    "unet": Variant("default", "unet"),
}


@dataclass(frozen=True)
class Job:
    """A training of one variant on one set."""

    data: str
    name: str
    variant: Variant
    seed: int = 0
    change: Callable[[], None] | None = None
    """Puts another part in place of a published one, in the process that trains and scores."""
    trained_as: str | None = None
    """The job of the set and seed whose training this one scores too; None for its own."""

    def prepare(self) -> None:
        """Apply the change."""
        if self.change is not None:
            self.change()

    @property
    def label(self) -> str:
        """Return the job's name."""
        return f"{self.data}-{self.name}-seed{self.seed}"

    @property
    def folder(self) -> str:
        """Return the name of the run's folder."""
        return f"{self.data}-{self.trained_as or self.name}-seed{self.seed}"


@dataclass(frozen=True)
class Limits:
    """What all jobs of a run keep to."""

    minutes: float
    """Wall clock of each training, without its validations."""
    steps: int | None = None
    """Steps of each training, in place of the minutes."""
    side: int = SIDE
    validations: int = 8
    validation_cases: int = 32
    workers: int | None = None
    precision: str | None = None
    """None takes the preset's: fp32 for the paper."""
    cuda_graphs: bool = False


def open_resized(data: str, root: Path, work: Path, side: int) -> tuple[DataSet, Splits]:
    """Return a set, 2D images resized to a square of `side` in a folder below `work`, and its split."""
    chosen = SETS[data]
    dataset = open_dataset(root / chosen.folder, chosen.options)
    options = chosen.options
    if dataset.axes == "yx":
        folder = work / f"resized-{data}-{side}"
        if not folder.is_dir():
            write_resized(dataset, folder, side)
        dataset = open_dataset(folder, replace(options, labels_above_zero=False))
    return dataset, make_splits(dataset.cases, SPLIT_SEED, test_fraction=TEST_FRACTION)


def write_resized(dataset: DataSet, folder: Path, side: int) -> None:
    """Write square copies of all images and masks; the folder is there when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as staged:
        part = Path(staged) / "part"
        for name in ("images", "masks"):
            (part / name).mkdir(parents=True)
        for case in dataset.cases:
            channels = [_squared(one, side, smooth=True) for one in load_image(dataset, case).array]
            image = channels[0] if len(channels) == 1 else np.stack(channels, -1)
            Image.fromarray(image).save(part / "images" / f"{case.name}.png", compress_level=1)
            mask = _squared(load_labels(dataset, case)[0].array[0], side, smooth=False)
            above = np.uint8(mask > 0) if dataset.labels_above_zero else mask
            Image.fromarray(above).save(part / "masks" / f"{case.name}.png", compress_level=1)
        if not folder.is_dir():
            os.replace(part, folder)


def _squared(array: Any, side: int, smooth: bool) -> np.ndarray[Any, Any]:
    """Return an array (Y, X) of 8 bits as (side, side)."""
    way = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    picture = Image.fromarray(np.asarray(array).round().clip(0, 255).astype(np.uint8))
    return np.asarray(picture.resize((side, side), way))


def plan_for(job: Job, dataset: DataSet, splits: Splits, side: int) -> Plan:
    """Return the plan of a job, made from its training cases."""
    names = splits.part(FOLD).train
    cases = [case for case in dataset.cases if case.name in names]
    normalization: Any = job.variant.normalization
    limits = PlanSettings(patch=(side, side) if dataset.axes == "yx" else None, normalization=normalization)
    _, plan = fingerprint_and_plan(dataset, cases, with_preset_limits(limits, job.variant.preset) or limits)
    return plan


def settings_for(job: Job, plan: Plan, limits: Limits) -> RunSettings:
    """Return the settings of a job."""
    variant = job.variant
    training: dict[str, Any] = {
        "seed": job.seed,
        "fold": FOLD,
        "validations": limits.validations,
        "validation_cases": limits.validation_cases,
        "workers": limits.workers,
        "cuda_graphs": limits.cuda_graphs,
        **({"minutes": limits.minutes} if limits.steps is None else {"steps": limits.steps}),
        **({} if limits.precision is None else {"precision": limits.precision}),
        **variant.changes.get("training", {}),
    }
    changes = {**variant.changes, "training": training, "baseline": variant.baseline}
    if variant.augmented:
        changes["augment"] = to_json(AugmentSettings())
    return make_settings(plan, variant.preset, changes, Path(PLAN_FILE))


def train_job(
    job: Job,
    dataset: DataSet,
    splits: Splits,
    work: Path,
    limits: Limits,
    device: str,
    on_validation: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Train a job, or go on where it was, and return what was trained; out of the program when it is
    interrupted."""
    run = work / job.folder
    plan = plan_for(job, dataset, splits, limits.side)
    settings = settings_for(job, plan, limits)

    def on_event(record: dict[str, Any]) -> None:
        if record["event"] == "validation":
            on_validation({**record, "seconds": round(time.monotonic() - started, 1)})

    started = time.monotonic()
    ended = train(dataset, plan, splits, settings, run, (run / STATE_FILE).is_file(), on_event, device)
    if ended.interrupted:  # what is half trained is not scored
        sys.exit(INTERRUPTED)
    return {
        "steps": ended.steps,
        "batch": settings.training.batch or plan.batch,
        "patch": list(plan.patch),
        "precision": settings.training.precision,
        "training_cases": len(splits.part(FOLD).train),
    }


def score_job(
    job: Job, splits: Splits, work: Path, limits: Limits, device: str
) -> dict[str, list[dict[str, float]]]:
    """Return the Dice of a trained job by number of steps and by noise on the image, on validation cases."""
    run, there = work / job.folder, torch.device(device)
    saved = load_model(run, there)
    names = sorted(splits.part(FOLD).validation)[: limits.validation_cases]
    cache = Cache(run / CACHE_FOLDER, tuple(names))
    patches = [central_patch(cache, name, saved.plan) for name in names]
    y = torch.stack([labels for _, labels in patches])

    def score(sigma: float, sampling: SamplingSettings) -> dict[str, float]:
        x = torch.stack([with_noise(one, sigma, saved.plan, n) for n, (one, _) in enumerate(patches)])
        started = time.monotonic()
        predicted = predict(saved.segmenter, x.to(there), saved.settings.training.precision, sampling).cpu()
        return {"dice": round(mean_dice(predicted, y), 5), "seconds": round(time.monotonic() - started, 2)}

    own = saved.settings.sampling
    steps = STEPS if saved.segmenter.stochastic else STEPS[:1]
    return {
        "dice_by_steps": [{"steps": n, **score(0.0, replace(own, steps=n))} for n in steps],
        "dice_by_noise": [{"noise": sigma, **score(sigma, own)} for sigma in NOISES],
    }


@torch.inference_mode()
def predict(model: Segmenter, x: Tensor, precision: str, sampling: SamplingSettings) -> Tensor:
    """Return labels (B, *S) of images x (B, M, *S), a few at a time."""
    generator = torch.Generator().manual_seed(0)
    found: list[Tensor] = []
    for images in x.split(TOGETHER):
        with autocast(x.device, precision):
            logits = model.sample(images, 1, sampling.steps, sampling.sampler, generator)[:, 0]
        found.append(logits.argmax(1))
    return torch.cat(found)


def mean_dice(predicted: Tensor, y: Tensor) -> float:
    """Return the mean over classes of the mean over cases that have the class, or claim it."""
    means: list[float] = []
    for index in range(1, int(y.max()) + 1):
        pairs = [
            ((one == index) & (truth >= 0), truth == index) for one, truth in zip(predicted, y, strict=True)
        ]
        scores = [dice(a, b) for a, b in pairs if (a | b).any()]
        means.append(sum(scores) / max(1, len(scores)))
    return sum(means) / len(means)


def with_noise(x: Tensor, sigma: float, plan: Plan, seed: int) -> Tensor:
    """Return an image (M, *S) as the plan normalizes it, with Gaussian noise of `sigma` on its values scaled
    to 0..1, scaled to 0..1 again."""
    generator = torch.Generator().manual_seed(seed)
    noisy = to_unit(to_unit(x) + sigma * torch.randn(x.shape, generator=generator))
    if all(channel.scheme == "unit" for channel in plan.channels):
        return noisy
    if sigma == 0:
        return x
    axes = tuple(range(1, x.ndim))
    if all(channel.scheme == "zscore" for channel in plan.channels):
        return (noisy - noisy.mean(axes, keepdim=True)) / noisy.std(axes, keepdim=True)
    return noisy * (x.max() - x.min()) + x.min()


def to_unit(x: Tensor) -> Tensor:
    """Return values scaled to 0..1 by their own least and largest one."""
    return (x - x.min()) / (x.max() - x.min()).clamp_min(1e-12)
