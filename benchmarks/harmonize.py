"""Does it help to bring images nearer to those of training, and does it leave alone what it should?

    python benchmarks/harmonize.py --data hippocampus --data-root FOLDER --model RUN_OR_NAME

Segments the test part of a set with and without harmonizing: the images as they are (the change in Dice of
each case, which should be none), and some of them corrupted as `ldseg robustness` does it, each at two
strengths. Beside what is done now stands what was done before: whatever lay beyond one tolerance was
harmonized, and the answers were not asked.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ldseg.data.cases import Case
from ldseg.data.dataset import DataSet
from ldseg.data.loading import load_case
from ldseg.data.volume import Volume
from ldseg.evaluation.case_metrics import evaluate_case, mean_over_raters
from ldseg.evaluation.corruptions import CORRUPTIONS, corrupt
from ldseg.inference.output import LABELS, InMemory
from ldseg.inference.predictor import NetworkInput, Predictor
from ldseg.preprocessing import harmonize as harmonizing
from ldseg.preprocessing.preprocess import PatchSource, PreprocessedImage, preprocess_image
from ldseg.zoo.catalogue import find_model
from records import as_a_command, commit, write_result
from sets import open_set, set_aside

STRENGTHS = (2, 4)
"""Which of a corruption's strengths; the first leaves the image as it is."""
AS_IT_IS, ALWAYS, NOW = "as_it_is", "always", "now"


@dataclass
class Ways:
    """Dice of one image by each way of treating it, and what was found."""

    dice: dict[str, float] = field(default_factory=dict[str, float])
    unlike: tuple[str, ...] = ()
    harmonized: bool = False


def main() -> None:
    arguments = parse()
    as_a_command(arguments.threads)
    dataset, splits = open_set(arguments.data, arguments.data_root)
    predictor = Predictor.load(find_model(arguments.model), "cpu")
    dataset = replace(dataset, classes=predictor.plan.classes)
    test, split = set_aside(dataset, splits)
    clean = {case.name: measure(predictor, dataset, case, None, 0) for case in test}
    print("clean", described(clean.values()), flush=True)
    some = test[:: max(1, len(test) // arguments.cases)]
    curves = {name: corrupted(predictor, dataset, some, name) for name in CORRUPTIONS}
    result: dict[str, Any] = {
        "benchmark": "harmonize",
        "data": arguments.data,
        "split": split,
        "model": Path(arguments.model).name,
        "preset": predictor.settings.preset,
        "seed": predictor.settings.training.seed,
        "budget_minutes": predictor.settings.training.cpu_minutes,
        "command": f"python benchmarks/harmonize.py --data {arguments.data} --data-root DATA --model "
        f"{Path(arguments.model).name} --cases {arguments.cases}",
        "commit": commit(),
        "clean": {**described(clean.values()), "cases": {name: vars(one) for name, one in clean.items()}},
        "corrupted": {
            "cases": [case.name for case in some],
            "mean": described([one for points in curves.values() for one in points]),
            **{name: described(points) for name, points in curves.items()},
        },
    }
    print(write_result(f"harmonize-{arguments.data}", result), result["corrupted"]["mean"])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--model", required=True, help="folder of a run, or name of a shipped model")
    parser.add_argument("--cases", type=int, default=16, help="that are corrupted, about")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def corrupted(predictor: Predictor, dataset: DataSet, cases: Sequence[Case], name: str) -> list[Ways]:
    """Measure all cases at all strengths of one corruption."""
    strengths = [CORRUPTIONS[name].strengths[number] for number in STRENGTHS]
    found = [measure(predictor, dataset, case, name, strength) for strength in strengths for case in cases]
    print(name, described(found), flush=True)
    return found


def measure(
    predictor: Predictor, dataset: DataSet, case: Case, corruption: str | None, strength: float
) -> Ways:
    """Measure one case, clean or corrupted, in all ways."""
    image, masks = load_case(dataset, case)
    image = image if corruption is None else corrupt(image, corruption, strength, 0, case.name)
    prepared = preprocess_image(image, predictor.plan, case.name)
    always = beyond_one_tolerance(prepared, predictor)
    seen = predictor.preprocess(image, case.name)
    ways = Ways(unlike=seen.out_of_distribution, harmonized=seen.harmonized)
    ways.dice[AS_IT_IS] = score(predictor, dataset, case, image, masks, prepared)
    ways.dice[ALWAYS] = ways.dice[AS_IT_IS]
    if always is not prepared:
        ways.dice[ALWAYS] = score(predictor, dataset, case, image, masks, always)
    ways.dice[NOW] = ways.dice[AS_IT_IS]
    if seen.harmonized:
        ways.dice[NOW] = ways.dice[ALWAYS]
    return ways


def beyond_one_tolerance(prepared: PreprocessedImage, predictor: Predictor) -> PatchSource:
    """Return the image harmonized with one tolerance."""
    usual, harmonizing.BEYOND = harmonizing.BEYOND, 1.0
    try:
        return harmonizing.harmonize(prepared, predictor.plan).image
    finally:
        harmonizing.BEYOND = usual


def score(
    predictor: Predictor,
    dataset: DataSet,
    case: Case,
    image: Volume,
    masks: Sequence[Volume],
    prepared: PatchSource,
) -> float:
    """Return the mean Dice over structures and raters."""
    tiling = predictor.tiling(prepared.grid)
    sink = InMemory(image, prepared.grid, tiling.axis)
    predictor.segment(NetworkInput(prepared), tiling, case.name, predictor.sampling(), 0, (LABELS,), sink)
    classes = predictor.plan.classes
    scores = [evaluate_case(sink.volume(LABELS), mask, classes, dataset.ignore_id, 1.0) for mask in masks]
    return float(np.mean([one.metrics["dice"] for one in mean_over_raters(scores).values()]))


def described(found: Any) -> dict[str, Any]:
    """Means over images, and the change by harmonizing."""
    ways = list(found)
    change = {way: np.array([one.dice[way] - one.dice[AS_IT_IS] for one in ways]) for way in (ALWAYS, NOW)}
    return {
        "images": len(ways),
        "named": sum(bool(one.unlike) for one in ways),
        "harmonised": sum(one.harmonized for one in ways),
        "dice_as_it_is": round(float(np.mean([one.dice[AS_IT_IS] for one in ways])), 5),
        **{f"change_{way}": round(float(one.mean()), 5) for way, one in change.items()},
        **{f"worst_{way}": round(float(one.min()), 5) for way, one in change.items()},
    }


if __name__ == "__main__":
    main()
