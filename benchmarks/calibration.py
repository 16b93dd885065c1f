"""How far can a model's confidence be trusted, as it is and calibrated?

    python benchmarks/calibration.py --data hippocampus --data-root FOLDER --work FOLDER --minutes 30

Takes the run that accuracy.py left in the work folder (same data, model, preset, seed and minutes) and
predicts the test cases. No case was held out for fitting, so the calibration is cross-fitted: each half of
the test subjects is measured with the calibration fitted on the other half. All test
probabilities are held in memory for it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ldseg.data.cases import Case
from ldseg.data.dataset import DataSet
from ldseg.evaluation.calibration_fit import fit_calibration
from ldseg.evaluation.calibration_report import CalibrationAccumulator
from ldseg.evaluation.predictions import CasePrediction, iterate_predictions, structure_dice
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import UNCALIBRATED, Calibration, expected_dice
from ldseg.utils.serialization import to_json
from records import as_a_command, commit, peak_memory_gb, write_result
from sets import open_set, set_aside
from trainings import command_of, run_name, run_parser


def main() -> None:
    arguments = parse()
    as_a_command(arguments.threads)
    name = run_name(arguments)
    predictor = Predictor.load(arguments.work / f"accuracy-{name}", "cpu")
    dataset, splits = open_set(arguments.data, arguments.data_root, arguments.fold)
    test, split = set_aside(dataset, splits, arguments.fold)
    result = {
        "benchmark": "calibration",
        "data": arguments.data,
        "split": split,
        "model": arguments.model,
        "preset": arguments.preset,
        "seed": arguments.seed,
        "budget_minutes": arguments.minutes,
        "fold": arguments.fold,
        "command": command_of("calibration.py", arguments),
        "commit": commit(),
        "torch": torch.__version__,
        "sampling": to_json(predictor.sampling(arguments.steps, arguments.samples)),
        **measure(predictor, dataset, test, arguments.samples, arguments.steps),
        "peak_rss_gb": peak_memory_gb(),
    }
    path = write_result(f"calibration-{name}", result)
    print(path, json.dumps({kind: result[kind]["figures"] for kind in ("plain", "calibrated")}, indent=1))


def parse() -> argparse.Namespace:
    parser = run_parser(__doc__)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--steps", type=int, help="of sampling; the model's own by default")
    return parser.parse_args()


def measure(
    predictor: Predictor, dataset: DataSet, cases: Sequence[Case], samples: int, steps: int | None
) -> dict[str, Any]:
    """Return reports before and after calibration, and the calibration fitted on each half."""
    deciding = predictor.deciding_by("expected-dice")
    found = list(iterate_predictions(deciding, dataset, cases, samples, steps))
    first = first_half(cases)
    halves = [[one for one in found if (one.case in first) == inside] for inside in (True, False)]
    fitted = [fit_calibration(half) for half in halves]
    classes = len(predictor.plan.classes)
    plain = [(one, UNCALIBRATED) for one in found]
    crossed = [(one, use) for half, use in zip(halves, reversed(fitted), strict=True) for one in half]
    return {
        "cross_fitted": to_json(fitted),
        "plain": described(plain, classes),
        "calibrated": described(crossed, classes),
    }


def first_half(cases: Sequence[Case]) -> set[str]:
    """Names of the cases of one half of the subjects."""
    subjects = sorted({case.subject for case in cases})
    chosen = set(np.random.default_rng(0).permutation(subjects)[: len(subjects) // 2].tolist())
    return {case.name for case in cases if case.subject in chosen}


def described(pairs: Iterable[tuple[CasePrediction, Calibration]], classes: int) -> dict[str, Any]:
    """Return the report on predictions as they are calibrated, with the figures of the tables by name."""
    accumulator = CalibrationAccumulator(classes)
    excess: list[float] = []
    for prediction, calibration in pairs:
        accumulator.add(prediction, calibration)
        if prediction.expected_dice:
            excess.append(expected_dice_excess(prediction, calibration))
    found = accumulator.report()
    figures = {"expected_dice_excess": float(np.mean(excess))} if excess else {}
    for region, reliability in (("", found.everywhere), ("_near", found.near)):
        if reliability is not None:
            for metric in ("ece", "classwise_ece", "brier", "nll", "aurc", "excess_aurc"):
                figures[metric + region] = getattr(reliability, metric)
    figures |= {"case_aurc": found.selection.aurc, "case_excess_aurc": found.selection.excess_aurc}
    if found.intervals:
        figures["interval_coverage"] = float(np.mean([one.covered for one in found.intervals.values()]))
    return {"figures": figures, **to_json(found)}


def expected_dice_excess(prediction: CasePrediction, calibration: Calibration) -> float:
    """Return by how much the Dice to expect of the labels is above that found, the mean over structures."""
    losses = [1 - of_samples for of_samples in prediction.expected_dice.values()]
    expected = expected_dice(list(prediction.expected_dice), losses, calibration)
    found = structure_dice(prediction, prediction.labels)
    return float(np.mean(list(expected.values())) - np.mean(found))


if __name__ == "__main__":
    main()
