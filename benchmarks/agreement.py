"""Do models err alike? Where two that were built differently agree with each other far more than with the
reference, more training of either gains little: what is left is how the reference was drawn.

    python benchmarks/agreement.py --data hippocampus --data-root FOLDER --work FOLDER --minutes 20 --seed 3

Takes the runs of the default preset and of `unet` that accuracy.py left in the work folder, for the test
cases: Dice of each, of the mean of their probabilities with both views of each, and of one to the other.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from accuracy import mean_dice
from ldseg.data.cases import Case
from ldseg.data.dataset import DataSet, load_image, load_labels
from ldseg.inference.predictor import Predictor
from ldseg.metrics.intervals import mean_interval
from ldseg.preprocessing.preprocess import labels_to_ids
from records import as_a_command, commit, write_result
from sets import open_set, set_aside
from trainings import command_of, set_parser, trained


def main() -> None:
    arguments = parse()
    as_a_command(1)
    dataset, splits = open_set(arguments.data, arguments.data_root)
    test, split = set_aside(dataset, splits)
    pair = [trained(arguments, model, arguments.seed) for model in ("ldseg", "unet")]
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
        low, high = mean_interval(values, [case.subject for case in test]) or (None, None)
        records.append(
            {**common, "metric": metric, "value": float(np.mean(values)), "low": low, "high": high}
        )
    name = f"agreement-{arguments.data}-seed{arguments.seed}-{arguments.minutes:g}min"
    print(write_result(name, {**common, "records": records}))


def parse() -> argparse.Namespace:
    parser = set_parser(__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def compare(pair: list[Predictor], dataset: DataSet, case: Case) -> dict[str, float]:
    """Return the mean Dice over the structures by the record's name."""
    image, reference = load_image(dataset, case), load_labels(dataset, case)[0]
    ours, theirs = (predictor(image, case.name).labels for predictor in pair)
    views = [predictor(image, case.name, tta=True).probabilities.array for predictor in pair]
    classes = np.mean(views, axis=0).argmax(0)
    together = image.with_array(labels_to_ids(classes[None], pair[0].plan), "labels")
    pairs = {
        "dice_ldseg": (ours, reference),
        "dice_unet": (theirs, reference),
        "dice_together": (together, reference),
        "dice_between": (ours, theirs),
    }
    return {name: mean_dice(dataset, *volumes) for name, volumes in pairs.items()}


if __name__ == "__main__":
    main()
