"""Do samples disagree as raters do?

    python benchmarks/raters.py phantom --work FOLDER --minutes 30
    python benchmarks/raters.py lidc --data-root FOLDER --work FOLDER --minutes 5
    python benchmarks/raters.py bubil --data-root FOLDER --work FOLDER --minutes 12 --fold 0 [--model unet]
    python benchmarks/raters.py bubil --data-root FOLDER --work FOLDER --minutes 12 --test-folder OTHER

phantom: synthetic 2D pictures with an appendage that 30 % of all masks include, always the whole of it, and
nothing in the picture tells which (`ldseg.data.phantom`). A model that learnt the distribution includes it in
30 % of its samples, the whole of it. lidc: 28 crops of lung nodules with the masks of four readers, some of
them empty; trained on its 19 training crops, scored on the other 9. It is far too small for a claim. bubil:
112 images of cells with nine or ten masks each; trained on four fifths of the blocks of ten numbers and
scored on the others (`--fold`), or trained on all and scored on another folder like it (`--test-folder`).
Beside the samples stand level sets of the same model's probabilities (see `rater_scores`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ldseg.data.cases import Case
from ldseg.data.dataset import DataOptions, DataSet, load_image, load_labels, open_dataset
from ldseg.data.formats import read_volume
from ldseg.data.phantom import APPENDAGES, CLASSES, write_phantom_dataset
from ldseg.inference.predictor import Predictor
from ldseg.metrics.ambiguity import inclusion_frequency
from ldseg.metrics.intervals import mean_interval
from rater_scores import Scores, distribution_scores, frequency_scores, level_sets
from records import as_a_command, commit, write_result
from trainings import MODELS, settings_for, train_without

SHARE = 0.3
CASES, TEST, RATERS, SHAPE = 440, 40, 4, (96, 96)
WATCHED = 4
"""Training cases that the curve of a run is drawn from."""
SAMPLES = {"phantom": (64,), "lidc": (16, 50), "bubil": (16, 50)}
FOLDS = 5
_BLOCK = r"(set\d+_[A-Za-z]*\d*)\d"
"""Neighbouring numbers of BUBIL may show one cell at different times: a block of ten numbers is a subject."""
Found = dict[str, dict[str, Scores]]
"""Scores by the source of the distribution and by case."""


def main() -> None:
    arguments = parse()
    as_a_command(1)
    trained = f"{arguments.model}-seed{arguments.seed}-{arguments.minutes:g}min"
    name = f"raters-{arguments.question}{_part(arguments)}-{trained}"
    dataset, test = OPENED[arguments.question](arguments)
    run = arguments.work / name.replace("-other", "-all")

    def chosen(plan: Any) -> Any:
        return settings_for(plan, arguments.minutes, arguments.seed, arguments.model)

    steps = train_without(dataset, test, chosen, run, WATCHED).steps
    predictor = Predictor.load(run)
    scored = dataset if arguments.test_folder is None else open_dataset(arguments.test_folder, _OPTIONS)
    cases = [case for case in scored.cases if arguments.test_folder or case.name in test]
    found, seconds = score(predictor, scored, cases, SAMPLES[arguments.question])
    common = {
        "benchmark": "raters",
        "data": arguments.question,
        "split": f"{len(dataset.cases) - len(test)} train, {len(cases)} test{_part(arguments)}",
        "model": arguments.model,
        "preset": "default",
        "seed": arguments.seed,
        "budget_minutes": arguments.minutes,
        "cases": len(cases),
        "command": command(arguments),
        "commit": commit(),
    }
    subjects = [case.subject for case in cases]
    records: list[dict[str, Any]] = []
    for source, scores in found.items():
        for metric in next(iter(scores.values())):
            mean = _mean([one[metric] for one in scores.values()], subjects)
            records.append({**common, "metric": f"{metric}_of_{source}", **mean})
    figures: dict[str, float] = {"training_steps": steps, "predict_cpu_s": seconds}
    if arguments.question == "phantom":
        figures |= inclusion(predictor, dataset, cases, SAMPLES["phantom"][0])
    records += [{**common, "metric": metric, "value": value} for metric, value in figures.items()]
    scored = {source: {"cases": scores} for source, scores in found.items()}
    path = write_result(name, {**common, "scores": scored, "records": records})
    print(path, json.dumps({r["metric"]: round(r["value"], 4) for r in records}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("question", choices=tuple(OPENED))
    parser.add_argument("--data-root", type=Path, help="for lidc and bubil")
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--model", choices=MODELS, default="ldseg")
    parser.add_argument("--minutes", type=float, default=10, help="CPU minutes of training")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--fold", type=int, choices=range(FOLDS), help="of bubil: the part that is scored")
    parser.add_argument("--test-folder", type=Path, help="of bubil: train on all, score on this folder")
    return parser.parse_args()


def command(arguments: argparse.Namespace) -> str:
    """Return the command without the folders of this machine."""
    root = " --data-root DATA" if arguments.data_root else ""
    words = f"--work WORK --model {arguments.model} --minutes {arguments.minutes:g} --seed {arguments.seed}"
    fold = "" if arguments.fold is None else f" --fold {arguments.fold}"
    other = "" if arguments.test_folder is None else " --test-folder OTHER"
    return f"python benchmarks/raters.py {arguments.question}{root} {words}{fold}{other}"


def score(
    predictor: Predictor, dataset: DataSet, cases: Sequence[Case], numbers: Sequence[int]
) -> tuple[Found, float]:
    """Return the scores of samples and level sets, and the CPU seconds of a prediction of few samples."""
    ids = list(predictor.plan.classes.values())
    found: Found = {}
    spent = 0.0
    for case in cases:
        image = load_image(dataset, case)
        raters = [one.array[0] for one in load_labels(dataset, case)]
        single = predictor(image, case.name)
        sets = level_sets(single.probabilities.array, ids, numbers[0])
        fused = single.labels.array[0]
        found.setdefault("deterministic_levels", {})[case.name] = distribution_scores(
            sets, fused, raters, ids
        )
        if not predictor.backend.stochastic:
            continue
        for number in numbers:
            before = time.process_time()
            drawn = predictor(image, case.name, samples=number, keep_samples=True)
            spent += (time.process_time() - before) * (number == numbers[0])
            maps, fused = [one.array[0] for one in drawn.samples], drawn.labels.array[0]
            scores = {**distribution_scores(maps, fused, raters, ids), **frequency_scores(drawn, raters, ids)}
            found.setdefault(f"{number}_samples", {})[case.name] = scores
            sets = level_sets(drawn.probabilities.array, ids, number)
            levels = distribution_scores(sets, fused, raters, ids)
            found.setdefault(f"{number}_levels_of_the_mean", {})[case.name] = levels
    return found, spent / len(cases)


def _mean(values: Sequence[float], subjects: Sequence[str]) -> dict[str, float | None]:
    """Return the mean with its interval over subjects as a record has them."""
    interval = mean_interval(values, subjects)
    low, high = interval if interval is not None else (None, None)
    return {"value": float(np.mean(values)), "low": low, "high": high}


def _part(arguments: argparse.Namespace) -> str:
    """Return what a run's name says of its test cases."""
    if arguments.test_folder is not None:
        return "-other"
    return "" if arguments.fold is None else f"-fold{arguments.fold}"


_OPTIONS = DataOptions(subject_pattern=_BLOCK)


def open_bubil(arguments: argparse.Namespace) -> tuple[DataSet, set[str]]:
    """Return the set and the cases of the fold's blocks, drawn with seed 0; none where all train."""
    dataset = open_dataset(arguments.data_root / "BUBIL_cells", _OPTIONS)
    if arguments.test_folder is not None:
        return dataset, set()
    blocks = sorted({case.subject for case in dataset.cases})
    np.random.default_rng(0).shuffle(blocks)
    chosen = set(blocks[arguments.fold or 0 :: FOLDS])
    return dataset, {case.name for case in dataset.cases if case.subject in chosen}


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


OPENED = {"phantom": open_phantom, "lidc": open_lidc, "bubil": open_bubil}


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
