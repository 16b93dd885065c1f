"""What do more members give? One, three and five folds of a cross-validation, scored on the test part.

    python benchmarks/ensembles.py --data hippocampus --data-root FOLDER --work FOLDER --minutes 4

Each member trains on the cases outside of the test part and of its own fold, `--minutes` CPU minutes. The
figures of one member are the mean of those of all members alone. Cases that need a second look are told by
the confidence of the prediction, and by how well the members agree (the pairwise Dice of their labels): the
area under the risk-coverage curve of 1 - Dice, and that under the ROC curve for the fifth of the cases with
the lowest Dice. A command that is given again goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ldseg.data.cases import Case
from ldseg.data.class_indices import class_indices
from ldseg.data.dataset import DataSet
from ldseg.data.loading import load_case
from ldseg.data.splits import Splits
from ldseg.evaluation.calibration_report import CalibrationAccumulator
from ldseg.evaluation.predictions import CasePrediction
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.ensemble import Ensemble
from ldseg.inference.predictor import Predictor
from ldseg.metrics.intervals import mean_interval
from ldseg.metrics.risk_coverage import area_under_risk, group_by_confidence
from ldseg.planning.plan import PlanSettings
from ldseg.runs.folds import fold_folder
from ldseg.runs.run_setup import fingerprint_and_plan
from records import as_a_command, commit, write_result
from sets import open_set, set_aside
from trainings import command_of, run_name, run_parser, settings_for, train_or_go_on

FAILURES = 0.2
"""Share of the cases, those with the lowest Dice, that count as failures."""


@dataclass(frozen=True)
class Scored:
    """The test cases as one predictor segments them, in order."""

    figures: dict[str, float]
    dice: list[float]
    confidence: list[float]
    agreement: list[float]
    """Pairwise Dice of the members, mean over the structures; empty for one member."""


def main() -> None:
    """Train all members, then score and write one result for each size."""
    arguments = parse()
    as_a_command(arguments.threads)
    name = f"ensembles-{run_name(arguments)}"
    dataset, splits = open_set(arguments.data, arguments.data_root)
    run = arguments.work / name
    for fold in range(max(arguments.sizes)):
        train_member(arguments, dataset, splits, run, fold)
    members = [Predictor.load(fold_folder(run, fold), "cpu") for fold in range(max(arguments.sizes))]
    test, split = set_aside(dataset, splits)
    for size in arguments.sizes:
        found = (
            [score(member, dataset, test) for member in members]
            if size == 1
            else [score(Ensemble(members[:size]), dataset, test)]
        )
        result = result_of(arguments, size, found, test, split)
        write_result(f"{name}-{size}", result)
        print(size, json.dumps(result["figures"]), flush=True)


def parse() -> argparse.Namespace:
    """Return the arguments."""
    parser = run_parser(__doc__)
    parser.set_defaults(minutes=4)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 3, 5], help="numbers of members")
    return parser.parse_args()


def train_member(
    arguments: argparse.Namespace, dataset: DataSet, splits: Splits, run: Path, fold: int
) -> None:
    """Train one fold, or go on with it. The plan is that of all cases outside of the test part."""
    cases = [case for case in dataset.cases if case.name not in splits.test]
    _, plan = fingerprint_and_plan(dataset, cases, PlanSettings())
    settings = settings_for(plan, arguments.minutes, arguments.seed, arguments.model, arguments.preset)
    settings = replace(settings, training=replace(settings.training, fold=fold))
    train_or_go_on(dataset, plan, splits, settings, fold_folder(run, fold))


def score(predictor: BasePredictor, dataset: DataSet, cases: Sequence[Case]) -> Scored:
    """Predict the cases once each and return the figures of the predictor."""
    classes = predictor.plan.classes
    accumulator = CalibrationAccumulator(len(classes))
    agreement: list[float] = []
    spent = 0.0
    for case in cases:
        image, masks = load_case(dataset, case)
        begun = time.process_time()
        found = predictor(image, case.name, samples=1)
        spent += time.process_time() - begun
        truth = class_indices(masks[0].array[0], classes, dataset.ignore_id)
        accumulator.add(
            CasePrediction(case.name, image.axes, found.probabilities.array, truth, found.volumes, {})
        )
        if found.ensemble is not None:
            agreement.append(float(np.mean(list(found.ensemble.pairwise_dice.values()))))
    report = accumulator.report()
    dice, confidence = [one.dice for one in report.cases], [one.confidence for one in report.cases]
    figures = {"mean_dice": float(np.mean(dice)), "predict_cpu_s": spent / len(cases)}
    for region, reliability in (("", report.everywhere), ("_near", report.near)):
        if reliability is not None:
            figures |= {f"ece{region}": reliability.ece, f"aurc{region}": reliability.aurc}
    figures |= told_by("confidence", confidence, dice)
    if agreement:
        figures |= told_by("members", agreement, dice)
    return Scored(figures, dice, confidence, agreement)


def told_by(name: str, values: Sequence[float], dice: Sequence[float]) -> dict[str, float]:
    """Return how well low `values` tell of a low Dice."""
    losses = [1 - one for one in dice]
    order = np.argsort(dice, kind="stable")
    failed, others = np.split(np.asarray(values)[order], [max(1, round(FAILURES * len(dice)))])
    higher, equal = others[:, None] > failed, others[:, None] == failed
    return {
        f"case_aurc_by_{name}": area_under_risk(*group_by_confidence(values, losses)),
        f"failure_auroc_by_{name}": float(higher.mean() + 0.5 * equal.mean()),
    }


def result_of(
    arguments: argparse.Namespace, size: int, found: Sequence[Scored], test: Sequence[Case], split: str
) -> dict[str, Any]:
    """Return the record of one size: the mean over what was `found`, cases and figures."""
    figures = {metric: float(np.mean([one.figures[metric] for one in found])) for metric in found[0].figures}
    figures["train_cpu_minutes"] = size * arguments.minutes
    dice = np.mean([one.dice for one in found], axis=0).tolist()
    interval = mean_interval(dice, [case.subject for case in test], bounds=(0, 1))
    columns = {"dice": dice, "confidence": np.mean([one.confidence for one in found], axis=0).tolist()}
    if found[0].agreement:
        columns["agreement"] = found[0].agreement
    bounds = {"mean_dice": interval}
    shared = {
        "benchmark": "ensembles",
        "data": arguments.data,
        "split": split,
        "model": f"{arguments.model}, {size} members" if size > 1 else arguments.model,
        "preset": arguments.preset,
        "seed": arguments.seed,
        "budget_minutes": arguments.minutes,
        "cases": len(test),
        "command": command_of("ensembles.py", arguments),
        "commit": commit(),
    }
    records = [
        {**shared, "metric": metric, "value": value, "low": low, "high": high}
        for metric, value in figures.items()
        for low, high in [bounds.get(metric) or (None, None)]
    ]
    rows = {case.name: {k: values[n] for k, values in columns.items()} for n, case in enumerate(test)}
    return {**shared, "members": size, "figures": figures, "scored": {"cases": rows}, "records": records}


if __name__ == "__main__":
    main()
