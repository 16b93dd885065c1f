"""Train, calibrate, score and store one of the models that come with the package.

    python benchmarks/zoo.py hippocampus --data-root FOLDER --work FOLDER

Trains the default preset with narrow widths on fold 0 of the cases outside of the test part, stores the
weights in half precision, calibrates these on the fold's validation cases and scores them on the test part.
All figures are of the stored model. An interrupted training resumes. With `--keep-weights` nothing is
trained: the stored plan gets what training images look like, the settings get the preset's posterior, and the
weights are calibrated and scored again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from accuracy import score
from calibration import described
from ldseg.data.cases import Case
from ldseg.data.dataset import DataSet
from ldseg.data.splits import Splits
from ldseg.evaluation.calibration_fit import calibrate
from ldseg.evaluation.out_of_distribution_fit import fit_and_store_detector
from ldseg.evaluation.predictions import iterate_predictions
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import PlanSettings, read_plan, write_plan
from ldseg.presets import PRESETS
from ldseg.runs.files import CARD_FILE, PLAN_FILE, SETTINGS_FILE
from ldseg.runs.run_setup import fingerprint_and_plan
from ldseg.runs.saved_model import load_model, read_settings, save_model, write_settings
from ldseg.settings import RunSettings
from ldseg.utils.serialization import to_json, write_bytes_atomic, write_json_atomic
from ldseg.zoo.catalogue import ABOUT_FILE, ABOUT_VERSION, MODELS, About
from records import as_a_command, commit, read_result, write_result
from sets import open_set
from trainings import train_or_go_on
from zoo_cards import SHIPPED, Shipped, card

FOLD = 0
MEASURED = ("appearance", "ranges", "physical_spacing", "channel_files")
"""Fields of a plan that say what training images are like; the others shape the network."""
CPU = torch.device("cpu")


def main() -> None:
    arguments = parse()
    as_a_command(arguments.threads)
    shipped = SHIPPED[arguments.name]
    dataset, splits = open_set(shipped.data, arguments.data_root)
    dataset = replace(dataset, classes=shipped.classes)
    folder, part = MODELS / arguments.name, splits.part(FOLD)
    if arguments.keep_weights:
        learnt = [case for case in dataset.cases if case.name in part.train]
        settings, steps, trained_at = look_again(arguments.name, dataset, learnt, folder)
    else:
        trained_at = commit()
        settings, steps = train_model(shipped, dataset, splits, arguments.work / f"zoo-{arguments.name}")
        store(arguments.work / f"zoo-{arguments.name}", folder)
    validation = [case for case in dataset.cases if case.name in part.validation]
    test = [case for case in dataset.cases if case.name in splits.test]
    counts = f"{len(part.train)} train, {len(validation)} validation, {len(test)} test"
    posterior = settings.posterior
    raw = Predictor.load(folder, "cpu", calibrated=False)
    fitted, _ = calibrate(folder, raw, dataset, validation, posterior.samples, posterior.steps)
    seen = {*part.train, *part.validation}
    fit_and_store_detector(folder, raw, dataset, [case for case in dataset.cases if case.name in seen])
    result: dict[str, Any] = {
        "benchmark": "zoo",
        "data": shipped.data,
        "split": f"fold {FOLD}: {counts}, by subject",
        "model": arguments.name,
        "preset": settings.preset,
        "seed": settings.training.seed,
        "budget_minutes": shipped.minutes,
        "command": command(arguments),
        "commit": commit(),
        "trained_at": trained_at,
        "training_steps": steps,
        "recalibration": to_json(fitted),
        "posterior_samples": posterior.samples,
        **measure(folder, dataset, test),
    }
    write_texts(folder, shipped, result)
    print(write_result(f"zoo-{arguments.name}", result), json.dumps(result["own"]["mean"]))


def command(arguments: argparse.Namespace) -> str:
    """Return the command without the folders of this machine."""
    words = f"python benchmarks/zoo.py {arguments.name} --data-root DATA --work WORK"
    return f"{words} --keep-weights" if arguments.keep_weights else words


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=tuple(SHIPPED))
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep-weights", action="store_true")
    return parser.parse_args()


def train_model(shipped: Shipped, dataset: DataSet, splits: Splits, run: Path) -> tuple[RunSettings, int]:
    """Train or go on training; the settings, and the number of steps."""
    part = splits.part(FOLD)
    cases = [case for case in dataset.cases if case.name in part.train]
    _, plan = fingerprint_and_plan(dataset, cases, PlanSettings())
    plan = replace(plan, widths=shipped.widths)
    settings = PRESETS["default"](plan)
    training = replace(settings.training, cpu_minutes=shipped.minutes, fold=FOLD, validations=4)
    settings = replace(settings, training=training)

    ended = train_or_go_on(dataset, plan, splits, settings, run)
    return settings, ended.steps


def look_again(
    name: str, dataset: DataSet, learnt: Sequence[Case], folder: Path
) -> tuple[RunSettings, int, str]:
    """Write into the stored plan how the training cases look and how they are stored, and into the settings
    how samples are drawn now.

    Returns the settings, the training steps and the commit of the training, as they were.
    """
    _, plan = fingerprint_and_plan(dataset, learnt, PlanSettings())
    measured = {field: getattr(plan, field) for field in MEASURED}
    plan = replace(read_plan(folder / PLAN_FILE), **measured)
    settings = replace(read_settings(folder / SETTINGS_FILE), posterior=PRESETS["default"](plan).posterior)
    write_plan(folder / PLAN_FILE, plan)
    write_settings(folder / SETTINGS_FILE, settings)
    before = read_result(f"zoo-{name}")
    return settings, before["training_steps"], before["trained_at"]


def store(run: Path, folder: Path) -> None:
    """Write the trained model with half-precision weights."""
    model = load_model(run, CPU)
    save_model(folder, model.segmenter.half(), model.plan, model.settings, "")


def measure(folder: Path, dataset: DataSet, cases: Sequence[Case]) -> dict[str, Any]:
    """Return the scores of the stored model's default prediction and the calibration of its samples."""
    predictor = Predictor.load(folder, "cpu")
    posterior = predictor.settings.posterior
    deciding = predictor.uncalibrated().deciding_by("expected-dice")
    found = iterate_predictions(deciding, dataset, cases, posterior.samples, posterior.steps)
    pairs = ((prediction, predictor.calibration) for prediction in found)
    return {
        "own": score(predictor, dataset, cases),
        "posterior": score(predictor, dataset, cases, samples=posterior.samples)["mean"],
        "calibration": described(pairs, len(predictor.plan.classes))["figures"],
    }


def write_texts(folder: Path, shipped: Shipped, result: dict[str, Any]) -> None:
    """Write the model card and its short form."""
    write_bytes_atomic(folder / CARD_FILE, card(shipped, result).encode())
    about = About(
        title=shipped.title,
        image=shipped.image,
        structures=tuple(shipped.classes)[1:],
        data=shipped.source,
        mean_dice=round(result["own"]["mean"]["dice"], 4),
        test_cases=len(result["own"]["cases"]),
        licence=shipped.licence,
    )
    write_json_atomic(folder / ABOUT_FILE, {"version": ABOUT_VERSION, **to_json(about)})


if __name__ == "__main__":
    main()
