"""A training of a benchmark: which one, its folder's name, and how it is begun, or gone on with when the same
command is given again."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ldseg.data.dataset import DataSet
from ldseg.data.splits import Fold, Splits
from ldseg.evaluation.after_training import calibrate_trained
from ldseg.planning.plan import Plan, PlanSettings
from ldseg.presets import PRESETS
from ldseg.runs.files import STATE_FILE
from ldseg.runs.run_setup import fingerprint_and_plan
from ldseg.settings import RunSettings
from ldseg.training.trainer import TrainingResult, train
from ldseg.utils.distributed import SINGLE_PROCESS
from sets import SETS

INTERRUPTED = 130
MODELS = ("ldseg", "unet", "pixel_diffusion", "ssn", "probabilistic_unet")


def run_parser(about: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments that choose a run of `accuracy.py`."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", choices=tuple(SETS), required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where accuracy.py keeps its runs")
    parser.add_argument("--model", choices=MODELS, default="ldseg")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="default")
    parser.add_argument("--minutes", type=float, default=20, help="CPU minutes of training")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--fold", type=int, help="of a cross-validation: the one that is left out")
    parser.add_argument("--threads", type=int, default=1, help="of this process; more of them waste CPU time")
    return parser


def run_name(arguments: argparse.Namespace) -> str:
    """Return the name of a run, a part of its folder's name and of its results' names."""
    given = vars(arguments)
    trained = (
        f"{given['data']}-{given['model']}-{given['preset']}-seed{given['seed']}-{given['minutes']:g}min"
    )
    return trained if given.get("fold") is None else f"{trained}-fold{given['fold']}"


def command_of(script: str, arguments: argparse.Namespace) -> str:
    """Return the command without the folders of this machine."""
    given = {k: v for k, v in vars(arguments).items() if k not in ("data_root", "work") and v is not None}
    listed = {k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in given.items()}
    words = " ".join(f"--{name} {value}" for name, value in listed.items())
    return f"python benchmarks/{script} --data-root DATA --work WORK {words}"


def settings_for(
    plan: Plan, cpu_minutes: float, seed: int, model: str = "ldseg", preset: str = "default"
) -> RunSettings:
    """Return the settings to train a preset, or a baseline of it, on all cases for the given time."""
    settings = with_model(PRESETS[preset](plan), model)
    training = replace(settings.training, cpu_minutes=cpu_minutes, seed=seed, fold="all", validations=3)
    return replace(settings, training=training)


def with_model(settings: RunSettings, model: str) -> RunSettings:
    """Return the settings with the baseline named `model`, or unchanged for `ldseg`."""
    baseline: Any = "none" if model == "ldseg" else model
    return replace(settings, baseline=baseline)


def train_without(
    dataset: DataSet, test: set[str], settings_of: Callable[[Plan], RunSettings], run: Path, watched: int
) -> TrainingResult:
    """On all cases but those of `test`, planned from them; the curve is drawn from the first `watched`."""
    cases = [case for case in dataset.cases if case.name not in test]
    _, plan = fingerprint_and_plan(dataset, cases, PlanSettings())
    names = tuple(case.name for case in cases)
    splits = Splits(1, 0, tuple(sorted(test)), (Fold(names[watched:], names[:watched]),))
    return train_or_go_on(dataset, plan, splits, settings_of(plan), run)


def train_calibrated(
    dataset: DataSet, test: set[str], unseen: set[str], settings_of: Callable[[Plan], RunSettings], run: Path
) -> TrainingResult:
    """On all cases but those of `test` and `unseen`, planned from both kinds that are no test; the `unseen`
    validate and calibrate."""
    known = [case for case in dataset.cases if case.name not in test]
    _, plan = fingerprint_and_plan(dataset, known, PlanSettings())
    parts = [tuple(case.name for case in known if (case.name in unseen) == held) for held in (False, True)]
    settings = settings_of(plan)
    settings = replace(settings, training=replace(settings.training, fold=0))
    fold = Fold(*parts)
    ended = train_or_go_on(dataset, plan, Splits(1, 0, tuple(sorted(test)), (fold,)), settings, run)

    def report(event: dict[str, Any]) -> None:
        if event["event"] == "warning":
            print(json.dumps(event), flush=True)

    calibrate_trained(dataset, fold, ended, SINGLE_PROCESS, "cpu", report)
    return ended


def train_or_go_on(
    dataset: DataSet, plan: Plan, splits: Splits, settings: RunSettings, run: Path, losses_every: int = 0
) -> TrainingResult:
    """To the end, or out of the program when it is interrupted. Prints validations, and losses every so many
    steps unless that is 0."""

    def report(record: dict[str, Any]) -> None:
        timely = record["event"] == "losses" and losses_every and record["step"] % losses_every == 0
        if record["event"] == "validation" or timely:
            print(json.dumps(record), flush=True)

    ended = train(dataset, plan, splits, settings, run, (run / STATE_FILE).is_file(), report)
    if ended.interrupted:
        sys.exit(INTERRUPTED)
    return ended
