"""How good is a model after some minutes on a GPU?

    python benchmarks/gpu_quality.py --data hippocampus --minutes 4 --data-root DATA --work WORK --out FILE

Trains on all cases outside of the test part as accuracy.py does on a CPU, for so many minutes of wall clock,
and scores the test cases: each case and class, means with an interval over subjects, and calibration of 8
samples. Preprocessing, validation and checkpoints are not in the minutes, loading and augmentation are.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from accuracy import score_predictions
from calibration import described
from gpu_journal import Journal, about_training, part_parser
from ldseg.data.cases import Case
from ldseg.data.dataset import DataSet, load_image
from ldseg.evaluation.predictions import iterate_predictions
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import UNCALIBRATED
from ldseg.planning.plan import PlanSettings
from ldseg.presets import PRESETS
from ldseg.runs.run_setup import fingerprint_and_plan
from ldseg.settings import RunSettings
from ldseg.training.trainer import train
from records import as_a_command
from sets import open_set, set_aside
from trainings import MODELS, run_name, with_model


def main() -> None:
    parser = part_parser(__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", choices=MODELS, default="ldseg")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="default")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=3, help="of the data loader")
    parser.add_argument("--cuda-graphs", action="store_true", help="training.cuda_graphs")
    arguments = parser.parse_args()
    as_a_command(1)
    journal = Journal(arguments.out)
    name = run_name(arguments) + ("-graphs" if arguments.cuda_graphs else "")
    dataset, splits = open_set(arguments.data, arguments.data_root)
    run = arguments.work / f"quality-{name}"
    found = about_training(arguments) | {"cuda_graphs": arguments.cuda_graphs}

    def trained() -> dict[str, Any]:
        return found | train_model(arguments, dataset, splits, run)

    journal.attempt("trained", name, trained)
    test, split = set_aside(dataset, splits)
    test = test[:2] if arguments.tiny else test
    predictor = Predictor.load(run, arguments.device)

    def scored() -> dict[str, Any]:
        return found | {"split": split, **score(predictor, dataset, test)}

    journal.attempt("quality", name, scored)
    journal.attempt("calibration", name, lambda: found | calibration(predictor, dataset, test))


def settings_of(arguments: Any, plan: Any) -> RunSettings:
    """Return the settings of accuracy.py, with a budget of wall clock."""
    settings = with_model(PRESETS[arguments.preset](plan), arguments.model)
    training = replace(
        settings.training,
        minutes=arguments.minutes,
        seed=arguments.seed,
        fold="all",
        validations=4,
        validation_cases=8,
        workers=arguments.workers,
        cuda_graphs=arguments.cuda_graphs,
        save_minutes=60.0,
    )
    return replace(settings, training=training)


def train_model(arguments: Any, dataset: DataSet, splits: Any, run: Path) -> dict[str, Any]:
    """Train into `run` and return the steps, their course and the peak of the memory."""
    names = splits.part("all").train
    cases = [case for case in dataset.cases if case.name in names]
    _, plan = fingerprint_and_plan(dataset, cases, PlanSettings())
    settings = settings_of(arguments, plan)
    course: list[dict[str, Any]] = []

    def on_event(record: dict[str, Any]) -> None:
        if record["event"] == "validation":
            print(record, flush=True)
            course.append({"step": record["step"], "dice": record["dice"], "progress": record["progress"]})
        if record["event"] == "losses" and record["step"] in (10, 100, 1000):
            course.append({"step": record["step"], "seconds": record["seconds"]})

    ended = train(dataset, plan, splits, settings, run, False, on_event, arguments.device)
    on_gpu = torch.cuda.is_available() and arguments.device.startswith("cuda")
    return {
        "steps": ended.steps,
        "batch": settings.training.batch or plan.batch,
        "patch": list(plan.patch),
        "training_cases": len(names),
        "course": course,
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 3) if on_gpu else None,
    }


def score(predictor: Predictor, dataset: DataSet, test: list[Case]) -> dict[str, Any]:
    """Return the scores of each case and class on the files' own grids."""
    started = time.monotonic()
    predicted = {case.name: predictor(load_image(dataset, case), case.name).labels for case in test}
    spent = (time.monotonic() - started) / len(test)
    found = score_predictions(dataset, test, predicted)
    return {"sampling": asdict(predictor.sampling()), "seconds_per_case": round(spent, 3), **found}


def calibration(predictor: Predictor, dataset: DataSet, test: list[Case]) -> dict[str, Any]:
    """Return the calibration of the mean of 8 samples, not recalibrated."""
    found = iterate_predictions(predictor, dataset, test, 8)
    pairs = ((prediction, UNCALIBRATED) for prediction in found)
    return {"figures": described(pairs, len(predictor.plan.classes))["figures"]}


if __name__ == "__main__":
    main()
