"""Do samples disagree as raters do?

    python benchmarks/raters.py phantom --work FOLDER --minutes 30
    python benchmarks/raters.py lidc --data-root FOLDER --work FOLDER --minutes 5

phantom: synthetic 2D pictures with an appendage that 30 % of all masks include, always the whole of it, and
nothing in the picture tells which (`ldseg.data.phantom`). A model that learnt the distribution includes it in
30 % of its samples, the whole of it. lidc: 28 crops of lung nodules with the masks of four readers, some of
them empty; trained on its 19 training crops, scored on the other 9. It is far too small for a claim.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ldseg.data.cases import Case
from ldseg.data.dataset import DataOptions, DataSet, load_image, open_dataset
from ldseg.data.formats import read_volume
from ldseg.data.phantom import APPENDAGES, CLASSES, write_phantom_dataset
from ldseg.evaluation.ambiguity import evaluate_ambiguity
from ldseg.inference.predictor import Predictor
from ldseg.metrics.ambiguity import inclusion_frequency
from ldseg.utils.serialization import to_json
from records import as_a_command, commit, write_result
from trainings import settings_for, train_without

SHARE = 0.3
CASES, TEST, RATERS, SHAPE = 440, 40, 4, (96, 96)
WATCHED = 4
"""Training cases that the curve of a run is drawn from."""
SAMPLES = {"phantom": 64, "lidc": 16}


def main() -> None:
    arguments = parse()
    as_a_command(1)
    name = f"raters-{arguments.question}-{arguments.minutes:g}min-seed{arguments.seed}"
    dataset, test = OPENED[arguments.question](arguments)
    run = arguments.work / name
    chosen = partial(settings_for, cpu_minutes=arguments.minutes, seed=arguments.seed)
    steps = train_without(dataset, test, chosen, run, WATCHED).steps
    predictor = Predictor.load(run)
    cases = [case for case in dataset.cases if case.name in test]
    samples = SAMPLES[arguments.question]
    found = evaluate_ambiguity(predictor, dataset, cases, samples)
    figures: dict[str, float] = {**to_json(found.mean), "training_steps": steps}
    if arguments.question == "phantom":
        figures |= inclusion(predictor, dataset, cases, samples)
    common = {
        "benchmark": "raters",
        "data": arguments.question,
        "split": f"{len(dataset.cases) - len(test)} train, {len(test)} test",
        "model": "ldseg",
        "preset": "default",
        "seed": arguments.seed,
        "budget_minutes": arguments.minutes,
        "cases": len(cases),
        "command": command(arguments),
        "commit": commit(),
    }
    records = [{**common, "metric": metric, "value": value} for metric, value in figures.items()]
    sampling = to_json(predictor.sampling(samples=samples))
    print(write_result(name, {**common, "sampling": sampling, "records": records}), json.dumps(figures))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("question", choices=tuple(OPENED))
    parser.add_argument("--data-root", type=Path, help="for lidc")
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--minutes", type=float, default=10, help="CPU minutes of training")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    return parser.parse_args()


def command(arguments: argparse.Namespace) -> str:
    """Return the command without the folders of this machine."""
    root = " --data-root DATA" if arguments.data_root else ""
    words = f"--work WORK --minutes {arguments.minutes:g} --seed {arguments.seed}"
    return f"python benchmarks/raters.py {arguments.question}{root} {words}"


def open_phantom(arguments: argparse.Namespace) -> tuple[DataSet, set[str]]:
    """Written once; the last cases are for testing."""
    folder: Path = arguments.work / "raters-phantom"
    if not (folder / "dataset.json").is_file():
        write_phantom_dataset(folder, "yx", CASES, 0, RATERS, SHARE, SHAPE)
    dataset = open_dataset(folder)
    return dataset, {case.name for case in dataset.cases[-TEST:]}


def open_lidc(arguments: argparse.Namespace) -> tuple[DataSet, set[str]]:
    """Both parts as one set, as its authors divided it."""
    root = arguments.data_root / "LIDC_4rater_sample"
    options = DataOptions(labels_above_zero=True)
    parts = [open_dataset(root / part, options) for part in ("training", "testing")]
    named = [
        replace(part, cases=tuple(replace(case, name=f"{word}{case.name}") for case in part.cases))
        for part, word in zip(parts, ("train", "test"), strict=True)
    ]
    dataset = replace(named[0], cases=(*named[0].cases, *named[1].cases))
    return dataset, {case.name for case in named[1].cases}


OPENED = {"phantom": open_phantom, "lidc": open_lidc}


def inclusion(
    predictor: Predictor, dataset: DataSet, cases: Sequence[Case], samples: int
) -> dict[str, float]:
    """Return the share of samples that include the appendage, and of those that include a part of it."""
    frequencies: list[float] = []
    undecided: list[float] = []
    for case in cases:
        region = read_volume(dataset.root / APPENDAGES / f"{case.name}.png", "labels").array[0] > 0
        found = predictor(load_image(dataset, case), case.name, samples=samples, keep_samples=True)
        maps = [one.array[0] for one in found.samples]
        frequencies.append(inclusion_frequency(maps, region, CLASSES["wall"]))
        parts = np.array([np.mean(one[region] == CLASSES["wall"]) for one in maps])
        undecided.append(float(np.mean((parts > 0.2) & (parts < 0.8))))
    return {
        "rater_frequency": SHARE,
        "sample_frequency": float(np.mean(frequencies)),
        "sample_frequency_lowest_case": min(frequencies),
        "sample_frequency_highest_case": max(frequencies),
        "samples_with_a_part": float(np.mean(undecided)),
    }


if __name__ == "__main__":
    main()
