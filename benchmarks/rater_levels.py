"""Do raters differ in more than where they draw the line? What samples could gain over level sets at best.

    python benchmarks/rater_levels.py bubil --data-root FOLDER
    python benchmarks/rater_levels.py lidc --data-root FOLDER

No model takes part. The raters of each case are divided into two halves at random, several times. Against the
second half are scored: the masks of the first half themselves, which no method can beat by more than chance,
and as many level sets of their mean, which know how often each voxel was marked and nothing of what varies
together. Where both score alike, level sets of a good probability map are as good as samples can be: methods
then differ by their maps alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from ldseg.data.cases import DataSet
from ldseg.data.dataset import load_labels
from rater_scores import Labels, Scores, distribution_scores, frequencies, level_sets
from rater_sets import OPENED
from raters import mean_figure
from records import commit, write_result

DIVISIONS = 8
SOURCES = ("half_of_the_raters", "levels_of_their_mean")
SCORES = ("ged2", "hm_iou", "sample_diversity")


def main() -> None:
    """Score all cases and write one result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("question", choices=("bubil", "lidc"))
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--divisions", type=int, default=DIVISIONS, help="of the raters of each case")
    arguments = parser.parse_args()
    dataset, _ = OPENED[arguments.question](
        argparse.Namespace(data_root=arguments.data_root, test_folder=None, fold=0)
    )
    found = score(dataset, arguments.divisions)
    common = {
        "benchmark": "rater_levels",
        "data": arguments.question,
        "split": f"all cases, {arguments.divisions} divisions of the raters of each",
        "model": "none",
        "preset": "none",
        "seed": 0,
        "budget_minutes": 0,
        "cases": len(dataset.cases),
        "command": f"python benchmarks/rater_levels.py {arguments.question} --data-root DATA"
        f" --divisions {arguments.divisions}",
        "commit": commit(),
    }
    subjects = [case.subject for case in dataset.cases]
    columns = {f"{k}_of_{source}": values[k] for source, values in found.items() for k in SCORES}
    here, there = (columns[f"ged2_of_{source}"] for source in SOURCES)
    columns["ged2_levels_minus_raters"] = [b - a for a, b in zip(here, there, strict=True)]
    records = [
        {**common, "metric": metric, **mean_figure(values, subjects)} for metric, values in columns.items()
    ]
    path = write_result(f"rater_levels-{arguments.question}", {**common, "records": records})
    print(path, json.dumps({one["metric"]: round(one["value"], 4) for one in records}))


def score(dataset: DataSet, divisions: int) -> dict[str, dict[str, list[float]]]:
    """Return the scores by source and metric, a value for each case: the mean over its divisions."""
    ids = list(dataset.classes.values())
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, list[float]]] = {one: {k: [] for k in SCORES} for one in SOURCES}
    for case in dataset.cases:
        raters = [one.array[0] for one in load_labels(dataset, case)]
        drawn = [scores_of_halves(raters, ids, rng) for _ in range(divisions)]
        for source in SOURCES:
            for metric in SCORES:
                found[source][metric].append(float(np.mean([one[source][metric] for one in drawn])))
    return found


def scores_of_halves(raters: list[Labels], ids: list[int], rng: np.random.Generator) -> dict[str, Scores]:
    """Return the scores of a random half of the raters, and of level sets of its mean, against as many
    others."""
    order, half = rng.permutation(len(raters)), len(raters) // 2
    known, others = ([raters[i] for i in order[part]] for part in (slice(half), slice(half, 2 * half)))
    frequency = frequencies(known, ids)
    fused = np.asarray(ids)[frequency.argmax(0)]
    maps = (known, level_sets(frequency, ids, half))
    return {k: distribution_scores(v, fused, others, ids) for k, v in zip(SOURCES, maps, strict=True)}


if __name__ == "__main__":
    main()
