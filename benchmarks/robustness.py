"""How much Dice does a model lose as images get worse?

    python benchmarks/robustness.py --data hippocampus --data-root FOLDER --work FOLDER --minutes 30

Sweeps the test cases of a run of `accuracy.py` as `ldseg robustness` does; with `--harmonize false` images go
to the network as they are. An interrupted sweep goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import torch

from ldseg.evaluation.corruptions import CORRUPTIONS
from ldseg.evaluation.robustness import Robustness, RobustnessOptions, RobustnessPoint, start_sweep, sweep
from ldseg.evaluation.robustness_files import resume_sweep, write_robustness, write_table_and_plot
from ldseg.inference.predictor import Predictor
from records import as_a_command, commit, peak_memory_gb, write_result
from sets import open_set, set_aside
from trainings import command_of, run_name, run_parser


def main() -> None:
    arguments = parse()
    as_a_command(arguments.threads)
    name = run_name(arguments)
    found = measure(arguments, name)
    dataset, splits = open_set(arguments.data, arguments.data_root, arguments.fold)
    _, split = set_aside(dataset, splits, arguments.fold)
    result = {
        "benchmark": "robustness",
        "data": arguments.data,
        "split": split,
        "model": arguments.model,
        "preset": arguments.preset,
        "seed": arguments.seed,
        "budget_minutes": arguments.minutes,
        "fold": arguments.fold,
        "command": command_of("robustness.py", arguments),
        "commit": commit(),
        "torch": torch.__version__,
        "peak_rss_gb": peak_memory_gb(),
        "sampling": vars(found.setup.sampling),
        "harmonized": found.setup.harmonize,
        "subjects": {case.name: case.subject for case in dataset.cases if case.name in found.setup.cases},
        "curves": {corruption: curve(points, corruption) for corruption, points in found.curves().items()},
    }
    path = write_result(f"robustness-{name}{suffix(arguments)}", result)
    means = {name: [point["mean_dice"] for point in one["points"]] for name, one in result["curves"].items()}
    print(path, json.dumps(means))


def parse() -> argparse.Namespace:
    parser = run_parser(__doc__)
    parser.add_argument("--corruptions", default=",".join(CORRUPTIONS))
    parser.add_argument("--harmonize", choices=("true", "false"), default="true")
    return parser.parse_args()


def suffix(arguments: argparse.Namespace) -> str:
    """Return the suffix of the names of folders and results."""
    return "" if arguments.harmonize == "true" else "-as_they_are"


def measure(arguments: argparse.Namespace, name: str) -> Robustness:
    """Run the sweep, begun or resumed in WORK/robustness-NAME."""
    run = arguments.work / f"accuracy-{name}"
    out = arguments.work / f"robustness-{name}{suffix(arguments)}"
    predictor = Predictor.load(run, "cpu")
    dataset, _ = open_set(arguments.data, arguments.data_root, arguments.fold)
    options = RobustnessOptions(
        tuple(arguments.corruptions.split(",")), harmonize=arguments.harmonize == "true"
    )
    begun = resume_sweep(out, start_sweep(run, predictor, dataset, options))
    if begun.setup.part != "test":
        raise ValueError(f"{run} has no test part of {arguments.data}; train it with accuracy.py")

    def keep(state: Robustness) -> None:
        write_robustness(out, state)
        last = state.points[-1]
        print(f"{last.corruption} {last.strength:g}: {last.mean_dice:.4f}", flush=True)

    found = sweep(predictor, dataset, begun, options.corruptions, keep)
    write_table_and_plot(out, found)
    return found


def curve(points: list[RobustnessPoint], corruption: str) -> dict[str, Any]:
    """Dice along the strengths: the means, and each case's mean over its classes."""
    described = zip(CORRUPTIONS[corruption].strengths, points, strict=True)
    return {
        "meaning": CORRUPTIONS[corruption].meaning,
        "points": [
            {
                "strength": strength,
                "mean_dice": point.mean_dice,
                "mean_dice_interval": point.mean_dice_interval,
                "cases": {
                    case: {"dice": float(np.mean([one["dice"] for one in classes.values()]))}
                    for case, classes in point.cases.items()
                },
            }
            for strength, point in described
        ],
    }


if __name__ == "__main__":
    main()
