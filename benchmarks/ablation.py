"""What does one change of the default preset give? Measured on validation cases, never on the test part.

    python benchmarks/ablation.py NAME --data hippocampus --data-root FOLDER --work FOLDER --minutes 12 \\
        --change training.learning_rate=1e-3 --change plan.mirror_axes=[]

Trains on fold 0 of the cases outside of the test part and scores its validation cases, and as many training
cases: the difference is what the model learnt by heart. NAME is the row of the table; rows of the same data,
minutes and cores are compared. A change is section.field=JSON of the settings or of the plan.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from accuracy import autoencoder, mean_dice, score
from ldseg.api import make_settings
from ldseg.data.cases import Case
from ldseg.data.dataset import DataSet, load_image, load_labels
from ldseg.data.splits import Splits
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import PlanSettings
from ldseg.presets import PRESETS
from ldseg.runs.files import PLAN_FILE
from ldseg.runs.run_setup import fingerprint_and_plan
from ldseg.utils.serialization import with_changes
from records import as_a_command, commit, write_result
from sets import open_set
from trainings import train_or_go_on

FOLD = 0
SPREAD = {"samples": 4}


def main() -> None:
    arguments = parse()
    as_a_command(1)
    name = f"ablation-{arguments.data}-{arguments.minutes:g}min-{arguments.name.replace(' ', '_')}"
    dataset, splits = open_set(arguments.data, arguments.data_root)
    run = arguments.work / name
    steps = train_changed(arguments, dataset, splits, run)
    fold, predictor = splits.part(FOLD), Predictor.load(run)
    held_out = [case for case in dataset.cases if case.name in fold.validation]
    learnt = [case for case in dataset.cases if case.name in fold.train][: len(held_out)]
    figures = {
        "mean_dice": score(predictor, dataset, held_out)["mean"]["dice"],
        "mean_dice_one_call": score(predictor, dataset, held_out, steps=1, samples=1)["mean"]["dice"],
        "mean_dice_in_training": score(predictor, dataset, learnt)["mean"]["dice"],
        "training_steps": steps,
        **(spread(predictor, dataset, held_out) if predictor.segmenter.stochastic else {}),
        **(autoencoder(predictor, dataset, held_out) if has_latent(predictor) else {}),
    }
    common = {
        "benchmark": "ablation",
        "data": arguments.data,
        "split": f"fold {FOLD}: {len(fold.train)} train, {len(held_out)} validation, by subject",
        "model": arguments.name,
        "preset": arguments.preset,
        "seed": 0,
        "budget_minutes": arguments.minutes,
        "cases": len(held_out),
        "command": command(arguments),
        "commit": commit(),
    }
    records = [{**common, "metric": metric, "value": value} for metric, value in figures.items()]
    print(write_result(name, {**common, "records": records}), json.dumps(figures))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", help="of the row, e.g. 'default' or 'no mirroring'")
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="default")
    parser.add_argument("--minutes", type=float, default=12, help="CPU minutes of training")
    parser.add_argument("--change", action="append", default=[], metavar="FIELD=JSON")
    return parser.parse_args()


def command(arguments: argparse.Namespace) -> str:
    """Return the command without the folders of this machine."""
    words = [f"python benchmarks/ablation.py '{arguments.name}' --data-root DATA --work WORK"]
    words += [f"--{field} {getattr(arguments, field)}" for field in ("data", "preset", "minutes")]
    return " ".join([*words, *(f"--change '{change}'" for change in arguments.change)])


def train_changed(arguments: argparse.Namespace, dataset: DataSet, splits: Splits, run: Path) -> int:
    """Train or go on training; the number of steps."""
    names = splits.part(FOLD).train
    cases = [case for case in dataset.cases if case.name in names]
    changes = nested(arguments.change)
    _, plan = fingerprint_and_plan(dataset, cases, PlanSettings())
    plan = with_changes(plan, changes.pop("plan", {}), "plan.")
    settings = make_settings(plan, arguments.preset, changes, run / PLAN_FILE)
    training = replace(
        settings.training, minutes=None, cpu_minutes=arguments.minutes, fold=FOLD, validations=4
    )
    settings = replace(settings, training=training)

    ended = train_or_go_on(dataset, plan, splits, settings, run)
    return ended.steps


def spread(predictor: Predictor, dataset: DataSet, cases: Sequence[Case]) -> dict[str, float]:
    """How much samples differ: a posterior that can be trusted has samples as far from each other as from the
    truth."""
    classes = list(predictor.plan.classes)[1:]
    truth: list[float] = []
    pairs: list[float] = []
    for case in cases:
        found = predictor(load_image(dataset, case), case.name, **SPREAD, keep_samples=True)
        pairs.append(float(np.mean([found.pairwise_dice[name] for name in classes])))
        reference = load_labels(dataset, case)[0]
        for sample in found.samples:
            truth.append(mean_dice(dataset, sample, reference))
    return {"dice_of_a_sample": float(np.mean(truth)), "dice_between_samples": float(np.mean(pairs))}


def nested(changes: list[str]) -> dict[str, Any]:
    """["a.b=1"] to {"a": {"b": 1}}."""
    found: dict[str, Any] = {}
    for change in changes:
        path, value = change.split("=", 1)
        *sections, field = path.split(".")
        place = found
        for section in sections:
            place = place.setdefault(section, {})
        place[field] = json.loads(value)
    return found


def has_latent(predictor: Predictor) -> bool:
    """Return whether the model has an autoencoder."""
    return hasattr(predictor.segmenter, "reconstruct")


if __name__ == "__main__":
    main()
