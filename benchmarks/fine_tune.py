"""Does a training that begins with the weights of another model get further in a few minutes than one from
nothing?

    python benchmarks/fine_tune.py --data hippocampus --data-root FOLDER --work FOLDER --minutes 2 5 10

hippocampus     a model of half of the training cases (--pretraining), then 12 of the others
bubil           the shipped model nuclei, then cells in phase contrast (--subject-pattern as in README.md)
usgra           the shipped model fetal-head, then nerves and vessels in ultrasound

Trained are: from nothing; from the source's weights with a new plan; from them with the source's plan. All
take the same cases, seed and CPU minutes; a fifth of the subjects is for testing only. A command that is
given again goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ldseg.api import train_run
from ldseg.data.cases import Case, DataOptions, DataSet
from ldseg.data.dataset import open_dataset
from ldseg.data.splits import Fold, Splits, make_splits, subject_order, write_splits
from ldseg.evaluation.compare import compare
from ldseg.evaluation.evaluate_folders import EvaluationOptions, score_files
from ldseg.evaluation.scores import Scores
from ldseg.inference.predict_cases import PredictOptions, predict_cases
from ldseg.inference.predictor import Predictor
from ldseg.runs.files import SETTINGS_FILE
from ldseg.runs.run_setup import SplitOptions
from ldseg.training.log_files import read_records
from records import as_a_command, commit, write_result
from sets import SETS, SPLIT_SEED, TEST_FRACTION
from trainings import INTERRUPTED, command_of

Start = Literal["nothing", "new_plan", "source_plan"]
STARTS: tuple[Start, ...] = ("nothing", "new_plan", "source_plan")
_WATCHED = 2
"""Cases from which the curve is drawn; they are trained on like the others."""


@dataclass(frozen=True)
class Task:
    """A set to be learnt, and the model to begin with."""

    folder: str
    options: DataOptions
    source: str | None
    """Name of a shipped model; None: one that is trained on the first half of the cases."""
    cases: int | None
    """Cases to train on, drawn by the seed; None for all."""


TASKS = {
    "hippocampus": Task(SETS["hippocampus"].folder, DataOptions(), None, 12),
    "bubil": Task(SETS["bubil"].folder, SETS["bubil"].options, "nuclei", None),
    "usgra": Task(SETS["usgra"].folder, DataOptions(), "fetal-head", None),
}


def main() -> None:
    """Train and score all starts, and write one result for each."""
    arguments = parse()
    as_a_command(arguments.threads)
    task = TASKS[arguments.data]
    dataset = open_dataset(arguments.data_root / task.folder, task.options)
    splits = make_splits(dataset.cases, SPLIT_SEED, test_fraction=TEST_FRACTION)
    order = subject_order({case.subject for case in dataset.cases if case.name not in splits.test}, 1)
    half = order[: len(order) // 2] if task.source is None else []
    chosen = [subject for subject in order if subject not in half][: arguments.cases or task.cases]
    source: str | Path | None = task.source
    if source is None:
        run = arguments.work / f"fine_tune-{arguments.data}-source-{arguments.pretraining:g}min"
        train(arguments, dataset, splits, half, run, arguments.pretraining, None, "nothing")
        source = run
    test = [case for case in dataset.cases if case.name in splits.test]
    for minutes in arguments.minutes:
        found: dict[Start, Scores] = {}
        for start in arguments.starts:
            rate = "" if start == "nothing" or arguments.rate is None else f"-rate{arguments.rate:g}"
            name = f"{arguments.data}-{start}{rate}-seed{arguments.seed}-{minutes:g}min"
            run = arguments.work / f"fine_tune-{name}"
            train(arguments, dataset, splits, chosen, run, minutes, source, start)
            found[start] = score(dataset, test, run)
            result = result_of(arguments, start, minutes, source, run, found, len(chosen))
            write_result(f"fine_tune-{name}", result)
            print(json.dumps({key: result[key] for key in ("start", "budget_minutes", "mean_dice", "gain")}))


def parse() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", choices=tuple(TASKS), required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0, 5.0, 10.0], help="CPU minutes")
    parser.add_argument("--pretraining", type=float, default=20.0, help="CPU minutes of hippocampus' source")
    parser.add_argument("--cases", type=int, help="to train on, instead of the task's number")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--rate", type=float, help="learning rate of trainings from a source")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--threads", type=int, default=1, help="of this process; more of them waste CPU time")
    return parser.parse_args()


def train(
    arguments: argparse.Namespace,
    dataset: DataSet,
    splits: Splits,
    subjects: list[str],
    run: Path,
    minutes: float,
    source: str | Path | None,
    start: Start,
) -> None:
    """Train on all cases of `subjects` into `run`, or go on with it."""
    names = sorted(case.name for case in dataset.cases if case.subject in subjects)
    file = run.with_name(f"{run.name}.splits.json")
    fold = Fold(tuple(names[_WATCHED:]), tuple(names[:_WATCHED]))
    write_splits(file, Splits(1, SPLIT_SEED, splits.test, (fold,)))
    training: dict[str, Any] = {"cpu_minutes": minutes, "seed": arguments.seed, "fold": "all"}
    training |= {"validations": 3, "calibrate": False}
    if start != "nothing" and arguments.rate is not None:
        training["learning_rate"] = arguments.rate
    begun = (run / SETTINGS_FILE).is_file()
    new = not begun and start != "nothing"
    ended = train_run(
        dataset.root,
        run,
        changes=None if begun else {"training": training},
        options=TASKS[arguments.data].options,
        split=None if begun else SplitOptions(file),
        resume=begun,
        source=source if new else None,
        source_plan="source" if new and start == "source_plan" else "new",
    )
    if ended.interrupted:
        sys.exit(INTERRUPTED)


def score(dataset: DataSet, test: list[Case], run: Path) -> Scores:
    """Return the scores of the test cases, predicted by the model in `run`."""
    predicted = predict_cases(Predictor.load(run), test, run / "test", PredictOptions())
    files = {name: paths[-1] for name, paths in predicted.done.items()}
    return score_files(dataset, test, files, EvaluationOptions(), {})


def result_of(
    arguments: argparse.Namespace,
    start: Start,
    minutes: float,
    source: str | Path | None,
    run: Path,
    found: dict[Start, Scores],
    subjects: int,
) -> dict[str, Any]:
    """Return the record of one training, with its gain over the one from nothing where that is known."""
    scores, transferred = found[start], [r for r in read_records(run) if r["event"] == "transferred"]
    steps = [r["step"] for r in read_records(run) if r["event"] == "losses"]
    gain: dict[str, Any] | None = None
    if start != "nothing" and "nothing" in found:
        overall = compare(found["nothing"], scores)[0]
        gain = {"difference": overall.difference, "interval": overall.interval}
    rate = "" if arguments.rate is None else f", learning rate {arguments.rate:g}"
    plan = start.replace("_", " ")
    beginning = "" if start == "nothing" else f" from {Path(str(source)).name}, {plan}{rate}"
    shared = {
        "benchmark": "fine_tune",
        "data": arguments.data,
        "split": f"seed {SPLIT_SEED}, {subjects} subjects to train, {len(scores.cases)} cases to test",
        "model": f"ldseg{beginning}",
        "preset": "default",
        "seed": arguments.seed,
        "budget_minutes": minutes,
        "cases": len(scores.cases),
        "command": command_of("fine_tune.py", arguments),
        "commit": commit(),
    }
    figures = {"mean_dice": (scores.mean_dice, scores.mean_dice_interval)}
    if gain is not None:
        figures["mean_dice_gain_over_nothing"] = (gain["difference"], gain["interval"])
    return {
        **shared,
        "start": start,
        "share": transferred[-1]["share"] if transferred else 0.0,
        "steps": steps[-1] if steps else 0,
        "mean_dice": scores.mean_dice,
        "gain": gain,
        "scored": {
            "cases": {
                name: {"dice": dice} for name, dice in zip(scores.cases, scores.case_dice(), strict=True)
            }
        },
        "records": [
            {**shared, "metric": metric, "value": value, **dict(zip(("low", "high"), bounds, strict=True))}
            for metric, (value, interval) in figures.items()
            for bounds in [interval or (None, None)]
        ],
    }


if __name__ == "__main__":
    main()
