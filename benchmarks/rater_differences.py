"""Compare the distributions that `raters.py` measured: means, and paired differences from one of them.

    python benchmarks/rater_differences.py --data bubil [--minutes 12] [--split folds|other]
        [--against ldseg "16 samples"] [--metrics ged2 hm_iou] [-o TABLE.md]

Each case's score is the mean over seeds; folds are put together. A difference is taken case by case, its
interval from resampled subjects (percentiles of the bootstrap): on BUBIL a subject is a block of ten
neighboring images. A distribution that lacks cases of the other is compared on those that both have. The
sub-sets of BUBIL, by the first part of the names, follow apart.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import store
from markdown_table import table
from rater_scores import Scores
from records import RESULTS

METRICS = {
    "ged2": ("GED²", 4),
    "hm_iou": ("HM-IoU", 4),
    "dice_match": ("Dice-match", 4),
    "diversity_share": ("diversity of raters'", 3),
    "brier": ("Brier", 4),
    "soft_ece": ("soft ECE", 4),
    "covered": ("volumes in 90 %", 3),
    "rater_dice": ("Dice with raters", 4),
    "decided_rater_dice": ("by expected Dice", 4),
    "majority_dice": ("with their majority", 4),
}
"""Columns: heading and digits."""
COMPARED = ("ged2", "hm_iou", "rater_dice")
RESAMPLES = 10_000
_SPREAD = {"sample_diversity", "rater_diversity"}

Key = tuple[str, str]
"""Model and source of a distribution."""
Cases = dict[str, Scores]


@dataclass(frozen=True)
class Distribution:
    """What one model's distribution scored."""

    cases: Cases
    """Scores by case, mean over seeds."""
    subjects: dict[str, str]
    """Subject of each case."""
    seeds: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="bubil")
    parser.add_argument("--minutes", type=float, help="of training, all members together; default: any")
    parser.add_argument("--split", choices=("folds", "other"), default="folds")
    parser.add_argument("--against", nargs=2, default=("ldseg", "16 samples"), metavar=("MODEL", "SOURCE"))
    parser.add_argument("--metrics", nargs="+", choices=tuple(METRICS), default=COMPARED)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("-o", "--output", type=Path, help="file instead of the terminal")
    arguments = parser.parse_args()
    chosen = [
        result
        for result in store.read_results(arguments.results).values()
        if result.get("benchmark") == "raters"
        and result["data"] == arguments.data
        and "scores" in result
        and arguments.minutes in (None, result["budget_minutes"])
        and result["split"].endswith("-other") == (arguments.split == "other")
    ]
    text = comparison(gather(chosen), tuple(arguments.against), arguments.metrics)
    if arguments.output is None:
        print(text)
    else:
        arguments.output.write_text(text + "\n", encoding="utf-8")


def gather(results: Iterable[dict[str, Any]]) -> dict[Key, Distribution]:
    """Return the distributions of results, those of several folds and seeds together."""
    found: dict[Key, dict[str, list[Scores]]] = defaultdict(lambda: defaultdict(list))
    subjects: dict[str, str] = {}
    seeds: dict[Key, set[int]] = defaultdict(set)
    for result in results:
        subjects |= result["subjects"]
        for source, scored in result["scores"].items():
            key = result["model"], source.replace("_", " ")
            seeds[key].add(result["seed"])
            for case, scores in scored["cases"].items():
                found[key][case].append(scores)
    return {
        key: Distribution(
            {case: {name: _mean(each, name) for name in each[0]} for case, each in sorted(cases.items())},
            subjects,
            len(seeds[key]),
        )
        for key, cases in sorted(found.items())
    }


def comparison(found: dict[Key, Distribution], against: Key, metrics: Sequence[str]) -> str:
    """Return the tables of all cases, of each sub-set, and of the differences from `against`."""
    if not found:
        return "no results; measure with raters.py first"
    parts = [mean_table(found)]
    sets = sorted({case.split("_")[0] for one in found.values() for case in one.cases if "_" in case})
    for name in sets if len(sets) > 1 else ():
        of_set = {key: only(one, name) for key, one in found.items()}
        parts.append(f"### {name}\n\n{mean_table({k: one for k, one in of_set.items() if one.cases})}")
    if against in found:
        parts.append(f"### differences from {', '.join(against)}\n\n{differences(found, against, metrics)}")
    return "\n\n".join(parts)


def only(one: Distribution, part: str) -> Distribution:
    """Return the cases whose names begin with `part` and "_"."""
    cases = {case: scores for case, scores in one.cases.items() if case.startswith(f"{part}_")}
    return Distribution(cases, one.subjects, one.seeds)


def mean_table(found: dict[Key, Distribution]) -> str:
    """Return a row of means for each distribution."""
    rows: list[tuple[str, ...]] = []
    for key, one in found.items():
        values = {name: [scores[name] for scores in one.cases.values()] for name in _names(one)}
        means = {name: float(np.mean(column)) for name, column in values.items()}
        if means.keys() >= _SPREAD:
            means["diversity_share"] = means["sample_diversity"] / max(1e-12, means["rater_diversity"])
        cells = [
            f"{means[name]:.{digits}f}" if name in means else "-" for name, (_, digits) in METRICS.items()
        ]
        rows.append((*key, str(one.seeds), str(len(one.cases)), *cells))
    headings = [heading for heading, _ in METRICS.values()]
    return table(("model", "distribution", "seeds", "cases", *headings), rows)


def differences(found: dict[Key, Distribution], against: Key, metrics: Sequence[str]) -> str:
    """Return a row for each distribution: its paired difference from `against`, with 95 % intervals."""
    reference = found[against]
    rows: list[tuple[str, ...]] = []
    for key, one in found.items():
        common = [case for case in one.cases if case in reference.cases]
        if key == against or not common:
            continue
        subjects = [one.subjects[case] for case in common]
        cells: list[str] = []
        for name in metrics:
            if name not in _names(one) or name not in _names(reference):
                cells.append("-")
                continue
            gaps = [one.cases[case][name] - reference.cases[case][name] for case in common]
            low, high = bootstrap_interval(gaps, subjects)
            cells.append(f"{np.mean(gaps):+.4f} [{low:+.4f}, {high:+.4f}]")
        rows.append((*key, str(len(common)), str(len(set(subjects))), *cells))
    headings = [METRICS[name][0] for name in metrics]
    return table(("model", "distribution", "cases", "subjects", *headings), rows)


def bootstrap_interval(values: Sequence[float], subjects: Sequence[str]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values when subjects are drawn again with replacement; always
    the same for the same values."""
    names = sorted(set(subjects))
    rows = np.array([names.index(subject) for subject in subjects])
    sums, counts = np.bincount(rows, np.asarray(values, float)), np.bincount(rows)
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _names(one: Distribution) -> list[str]:
    """Return the scores that all cases have."""
    return [name for name in next(iter(one.cases.values())) if all(name in s for s in one.cases.values())]


def _mean(each: Sequence[Scores], name: str) -> float:
    return float(np.mean([scores[name] for scores in each]))


if __name__ == "__main__":
    main()
