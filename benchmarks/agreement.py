"""Do models err alike? Where two that were built differently agree with each other far more than with the
reference, more training of either gains little: what is left is how the reference was drawn.

    python benchmarks/agreement.py --data hippocampus --data-root FOLDER --work FOLDER --minutes 20 --seed 3

Takes the runs of the default preset and of `unet` that accuracy.py left in the work folder, for the test
cases: Dice of each, of the mean of their probabilities with both views of each, and of one to the other.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.cases import Case
from ldseg.data.datasets import DataSet, load_image, load_labels
from ldseg.data.volumes import Volume
from ldseg.evaluation.bootstrap import mean_interval
from ldseg.evaluation.metrics import evaluate_case
from ldseg.inference.predictor import Predictor
from records import as_a_command, commit, write_result
from sets import open_set, set_aside
from trainings import command_of, run_name

MODELS = ("ldseg", "unet")


def main() -> None:
    arguments = parse()
    as_a_command(1)
    dataset, splits = open_set(arguments.data, arguments.data_root)
    test, split = set_aside(dataset, splits)
    pair = [Predictor.load(arguments.work / f"accuracy-{name}") for name in run_names(arguments)]
    found = [compare(pair, dataset, case) for case in test]
    common = {
        "benchmark": "agreement",
        "data": arguments.data,
        "split": split,
        "model": "ldseg and unet",
        "preset": "default",
        "seed": arguments.seed,
        "budget_minutes": arguments.minutes,
        "cases": len(test),
        "command": command_of("agreement.py", arguments),
        "commit": commit(),
    }
    records: list[dict[str, Any]] = []
    for metric in found[0]:
        values = [one[metric] for one in found]
        low, high = mean_interval(values, [case.subject for case in test])
        records.append(
            {**common, "metric": metric, "value": float(np.mean(values)), "low": low, "high": high}
        )
    name = f"agreement-{arguments.data}-seed{arguments.seed}-{arguments.minutes:g}min"
    print(write_result(name, {**common, "records": records}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where accuracy.py keeps its runs")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def run_names(arguments: argparse.Namespace) -> list[str]:
    """Of the two runs."""
    return [
        run_name(argparse.Namespace(**vars(arguments), model=model, preset="default")) for model in MODELS
    ]


def compare(pair: list[Predictor], dataset: DataSet, case: Case) -> dict[str, float]:
    """Mean Dice over the structures, by name of the record."""
    image, reference = load_image(dataset, case), load_labels(dataset, case)[0]
    ours, theirs = (predictor(image, case.name).labels for predictor in pair)
    views = [predictor(image, case.name, mirror=True).probabilities.array for predictor in pair]
    ids = np.array(list(pair[0].plan.classes.values()))
    together = ours.with_array(ids[as_classes(views)][None].astype(ours.array.dtype), "labels")
    pairs = {
        "dice_ldseg": (ours, reference),
        "dice_unet": (theirs, reference),
        "dice_together": (together, reference),
        "dice_between": (ours, theirs),
    }
    return {name: mean_dice(dataset, *volumes) for name, volumes in pairs.items()}


def as_classes(probabilities: list[NDArray[np.float32]]) -> NDArray[np.int64]:
    """The likeliest class (*S) of the mean of (K, *S)."""
    return np.mean(probabilities, axis=0).argmax(0)


def mean_dice(dataset: DataSet, one: Volume, other: Volume) -> float:
    scores = evaluate_case(one, other, dataset.classes, dataset.ignore_id, 1.0)
    return float(np.mean([scores[name].metrics["dice"] for name in list(dataset.classes)[1:]]))


if __name__ == "__main__":
    main()
