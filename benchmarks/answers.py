"""What is gained by looking at the mirror image too, and by several samples?

    python benchmarks/answers.py --data hippocampus --data-root FOLDER --work FOLDER \\
        --minutes 20 --seeds 0 1

Takes the runs of the default preset and of `unet` that accuracy.py left in the work folder, and lets each
answer for the test cases in several ways. With several seeds a case's score is first averaged over them.
Differences are paired: to `unet` with as many views.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from accuracy import score
from ldseg.data.cases import Case
from ldseg.data.dataset import DataSet
from ldseg.metrics.intervals import mean_interval, paired_difference
from records import as_a_command, commit, write_result
from sets import length_unit_of, open_set, set_aside
from trainings import command_of, set_parser, trained

WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", {"mirror": False}),
    "unet, mirrored too": ("unet", {"mirror": True}),
    "ldseg default": ("ldseg", {"samples": 1, "mirror": False}),
    "ldseg default, mirrored too": ("ldseg", {"samples": 1, "mirror": True}),
    "ldseg default, 8 samples": ("ldseg", {"samples": 8}),
}
"""Row of the table to the model, and how it answers."""
METRICS = ("dice", "hd95")
Column = list[float]


def main() -> None:
    arguments = parse()
    as_a_command(1)
    dataset, splits = open_set(arguments.data, arguments.data_root)
    test, split = set_aside(dataset, splits)
    common = {
        "benchmark": "answers",
        "data": arguments.data,
        "split": split,
        "preset": "default",
        "seed": arguments.seeds,
        "budget_minutes": arguments.minutes,
        "cases": len(test),
        "command": command_of("answers.py", arguments),
        "commit": commit(),
    }
    found = {name: answered(arguments, dataset, test, *way) for name, way in WAYS.items()}
    subjects = [case.subject for case in test]
    records = [
        {**common, "model": name, **record}
        for name, columns in found.items()
        for record in figures(columns, opponent(found, name), subjects)
    ]
    seeds = "+".join(str(seed) for seed in arguments.seeds)
    name = f"answers-{arguments.data}-{arguments.minutes:g}min-seeds{seeds}"
    print(write_result(name, {**common, "columns": found, "records": records}))


def parse() -> argparse.Namespace:
    parser = set_parser(__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    return parser.parse_args()


def answered(
    arguments: argparse.Namespace, dataset: DataSet, test: list[Case], model: str, way: dict[str, Any]
) -> dict[str, Column]:
    """Return each metric of each case and the CPU seconds, averaged over seeds."""
    runs = [score(trained(arguments, model, seed), dataset, test, **way) for seed in arguments.seeds]
    unit = length_unit_of(arguments.data)
    names = [f"{metric}_{unit}" if metric == "hd95" else metric for metric in METRICS]
    columns = {metric: per_case(runs, test, metric) for metric in names}
    return {**columns, "cpu_s": [float(np.mean([run["cpu_s_per_case"] for run in runs]))]}


def per_case(runs: list[dict[str, Any]], test: list[Case], metric: str) -> Column:
    return [
        float(np.mean([[one[metric] for one in run["cases"][case.name].values()] for run in runs]))
        for case in test
    ]


def opponent(found: dict[str, dict[str, Column]], name: str) -> dict[str, Column] | None:
    """`unet`, with as many views; none of its own."""
    if WAYS[name][0] == "unet":
        return None
    return found["unet" if not WAYS[name][1].get("mirror", True) else "unet, mirrored too"]


def figures(
    columns: dict[str, Column], other: dict[str, Column] | None, subjects: list[str]
) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [{"metric": "predict_cpu_s", "value": columns["cpu_s"][0]}]
    for metric in (name for name in columns if name.startswith(METRICS)):
        low, high = mean_interval(columns[metric], subjects) or (None, None)
        mean = float(np.mean(columns[metric]))
        records.append({"metric": f"mean_{metric}", "value": mean, "low": low, "high": high})
        if other is not None:
            found = paired_difference(other[metric], columns[metric], subjects)
            name = f"mean_{metric}_difference"
            low, high = found.interval or (None, None)
            records.append({"metric": name, "value": found.mean, "low": low, "high": high})
    return records


if __name__ == "__main__":
    main()
