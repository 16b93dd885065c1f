"""How accurate is a model after a given training time, and what is its autoencoder's ceiling?

    python benchmarks/accuracy.py --data hippocampus --data-root FOLDER --work FOLDER --minutes 30

Trains on all cases outside of the test part (no case is held out for choosing anything), predicts the test
cases from their files and scores them with ldseg's own evaluation. The budget is CPU minutes of one thread:
other work on the machine takes nothing from it. With `--fold` the subjects of that fold are left out and are
scored in the place of the test part. An interrupted run resumes.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ldseg.data.dataset import DataSet, load_image, load_labels
from ldseg.data.volume import Volume
from ldseg.evaluation.case_metrics import evaluate_case
from ldseg.inference.predictor import Predictor
from ldseg.metrics.dice import dice
from ldseg.metrics.intervals import mean_interval
from ldseg.planning.plan import PlanSettings
from ldseg.preprocessing.preprocess import preprocess_labels
from ldseg.presets import PRESETS
from ldseg.runs.run_setup import fingerprint_and_plan
from ldseg.utils.device import precision_of
from records import as_a_command, commit, peak_memory_gb, write_result
from sets import open_set, set_aside
from trainings import command_of, run_name, run_parser, train_or_go_on, with_model

STEPS = (1, 2, 5, 15, 50)
METRICS = ("dice", "hd95_mm", "hd95_px", "assd_mm", "assd_px", "nsd")
"""Those of a case that are averaged, as far as it has them: distances are in mm or in pixels."""


def main() -> None:
    arguments = run_parser(__doc__).parse_args()
    as_a_command(arguments.threads)
    name = f"accuracy-{run_name(arguments)}"
    run = arguments.work / name
    dataset, splits = open_set(arguments.data, arguments.data_root, arguments.fold)
    training = train_model(arguments, dataset, splits, run)
    predictor = Predictor.load(run)
    test, split = set_aside(dataset, splits, arguments.fold)
    deterministic = not predictor.segmenter.stochastic
    own, by_steps = score(predictor, dataset, test), score_by_steps(predictor, dataset, test)
    result = {
        "benchmark": "accuracy",
        "data": arguments.data,
        "split": split,
        "model": arguments.model,
        "preset": arguments.preset,
        "seed": arguments.seed,
        "budget_minutes": arguments.minutes,
        "fold": arguments.fold,
        "command": command_of("accuracy.py", arguments),
        "commit": commit(),
        "training": training,
        "torch": torch.__version__,
        "peak_rss_gb": peak_memory_gb(),
        "sampling": asdict(predictor.sampling()),
        "own": own,
        "steps": by_steps,
        "autoencoder": None if deterministic else autoencoder(predictor, dataset, test),
    }
    path = write_result(name, result)
    print(path, json.dumps({s: r["mean"] for s, r in {"own": own, **by_steps}.items()}))
    print(json.dumps(result["autoencoder"]))


def train_model(arguments: argparse.Namespace, dataset: DataSet, splits: Any, run: Path) -> dict[str, Any]:
    names = splits.part("all").train
    cases = [case for case in dataset.cases if case.name in names]
    _, plan = fingerprint_and_plan(dataset, cases, PlanSettings())
    settings = with_model(PRESETS[arguments.preset](plan), arguments.model)
    settings = replace(
        settings,
        training=replace(
            settings.training,
            cpu_minutes=arguments.minutes,
            precision="auto",
            seed=arguments.seed,
            fold="all",
            validations=4,
            validation_cases=8,
        ),
    )

    ended = train_or_go_on(dataset, plan, splits, settings, run, losses_every=100)
    return {
        "steps": ended.steps,
        "batch": settings.training.batch or plan.batch,
        "precision": precision_of(torch.device("cpu"), settings.training.precision),
        "training_cases": len(names),
    }


def score(predictor: Predictor, dataset: DataSet, cases: Any, **sampling: int) -> dict[str, Any]:
    """Scores of every case and class, on the files' own grids; `sampling` instead of the model's own."""
    spent = time.process_time()
    predicted: dict[str, Volume] = {}
    for case in cases:
        predicted[case.name] = predictor(load_image(dataset, case), case.name, **sampling).labels
    spent = time.process_time() - spent
    found = score_predictions(dataset, cases, predicted)
    return {**found, "cpu_s_per_case": round(spent / len(cases), 3)}


def score_by_steps(predictor: Predictor, dataset: DataSet, cases: Any) -> dict[int, dict[str, Any]]:
    """Scores of one sample by the number of its steps; none of a model without steps."""
    several = STEPS if predictor.segmenter.stochastic else ()
    return {steps: score(predictor, dataset, cases, steps=steps, samples=1) for steps in several}


def mean_dice(dataset: DataSet, found: Volume, reference: Volume) -> float:
    """Return the mean Dice of one label map over the structures."""
    scores = evaluate_case(found, reference, dataset.classes, dataset.ignore_id, 1.0)
    return float(np.mean([scores[name].metrics["dice"] for name, label in dataset.classes.items() if label]))


def score_predictions(dataset: DataSet, cases: Any, predicted: dict[str, Volume]) -> dict[str, Any]:
    """Scores of label maps, by case."""
    classes = {name: label for name, label in dataset.classes.items() if label != 0}
    scores: dict[str, Any] = {}
    for case in cases:
        reference = load_labels(dataset, case)[0]
        found = evaluate_case(predicted[case.name], reference, dataset.classes, dataset.ignore_id, 1.0)
        scores[case.name] = {name: dict(found[name].metrics) for name in classes}
    means = {
        metric: float(np.mean([[scores[c][k][metric] for k in classes] for c in scores]))
        for metric in METRICS
        if all(metric in scores[c][k] for c in scores for k in classes)
    }
    per_case = [float(np.mean([scores[c][k]["dice"] for k in classes])) for c in scores]
    return {
        "mean": means,
        "dice_interval": mean_interval(per_case, [case.subject for case in cases], bounds=(0, 1)),
        "cases": scores,
    }


@torch.inference_mode()
def autoencoder(predictor: Predictor, dataset: DataSet, cases: Any) -> dict[str, float]:
    """Return the autoencoder ceiling on the network's grid, for true masks, an empty mask and a cube."""
    plan = predictor.plan
    ceilings: list[float] = []
    for case in cases:
        truth = preprocess_labels(load_labels(dataset, case)[0], plan, case.name)
        whole = pad_to_factor(torch.from_numpy(truth.astype(np.int64)), predictor.segmenter.image_factor)
        found = predictor.segmenter.reconstruct(whole[None]).argmax(1)[0]
        ceilings += [overlap(found, whole, k) for k in range(1, len(plan.classes)) if (whole == k).any()]
    empty = torch.zeros(1, *plan.patch, dtype=torch.long)
    background = predictor.segmenter.reconstruct(empty).argmax(1)
    lone = empty.clone()
    middle = tuple(slice(n // 2 - 3, n // 2 + 3) for n in plan.patch)
    lone[(0, *middle)] = 1
    cube = predictor.segmenter.reconstruct(lone).argmax(1)
    return {
        "ceiling_dice": float(np.mean(ceilings)),
        "empty_mask_foreground": float((background != 0).float().mean()),
        "lone_6_voxel_object_dice": overlap(cube, lone, 1),
    }


def overlap(a: torch.Tensor, b: torch.Tensor, k: int) -> float:
    """Return the Dice of class `k` over the labelled voxels of `b`, 0 where neither has the class."""
    labelled = b >= 0
    return dice((a == k) & labelled, b == k, empty=0.0)


def pad_to_factor(labels: torch.Tensor, factor: tuple[int, ...]) -> torch.Tensor:
    """Background up to the next multiple."""
    missing = [(-n) % f for n, f in zip(labels.shape, factor, strict=True)]
    pairs = [pad for m in reversed(missing) for pad in (0, m)]
    return torch.nn.functional.pad(labels, pairs)


if __name__ == "__main__":
    main()
