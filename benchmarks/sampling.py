"""In how many steps are samples drawn, and how much do they differ? Chosen on cases outside of the test part.

    python benchmarks/sampling.py bubil --data-root FOLDER --work FOLDER --minutes 5 --fold 0
    python benchmarks/sampling.py hippocampus --data-root FOLDER --work FOLDER --minutes 8 --run RUN

Takes the run that `raters.py` trains with the same arguments (or trains it so), or RUN, which was trained
without the test cases and without the sixth of the others that is kept back (`rater_sets.unseen_of`). Those
kept back are scored, 16 samples each: one half of their subjects is calibrated on the other, anew for each
number of steps. Beside the samples in the preset's steps stand those at other temperatures, in shares of that
of the mean probabilities, those as they are drawn, and as many level sets of the calibrated mean.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ldseg.data.cases import Case, DataSet
from ldseg.data.class_indices import class_indices
from ldseg.data.loading import load_case
from ldseg.data.volume import Volume
from ldseg.evaluation.calibration_fit import fit_on_cases, ignore_case
from ldseg.evaluation.coherence_fit import SHARPNESS
from ldseg.evaluation.predictions import structure_volumes
from ldseg.inference.base_predictor import Prediction
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import Calibration
from ldseg.planning.plan import Plan
from ldseg.presets import PRESETS
from rater_scores import Labels, Scores, distribution_scores, level_sets
from rater_sets import FOLDS, OPENED, run_name, unseen_of
from raters import trained_runs
from records import as_a_command, commit, write_result
from sets import SETS, open_set

SAMPLES = 16
STEPS = (2, 4, 8)
SHARPNESSES = (0.7, 1.0)
"""Other shares than `SHARPNESS`."""
METRICS = ("ged2", "hm_iou", "sample_diversity", "covered")
Found = dict[str, dict[str, Scores]]
"""Scores by the way samples are drawn and by case."""


def main() -> None:
    arguments = parse()
    as_a_command(1)
    if arguments.question in OPENED:
        dataset, test = OPENED[arguments.question](arguments)
    else:
        dataset, splits = open_set(arguments.question, arguments.data_root)
        test = set(splits.test)
    unseen = unseen_of(dataset, test)
    (run,), training_steps = trained_runs(arguments, dataset, test)
    predictor = Predictor.load(run, "cpu")
    cases = [case for case in dataset.cases if case.name in unseen]
    found = score(predictor, dataset, halves(cases))
    fold = "" if arguments.fold is None else f" of fold {arguments.fold}"
    common = {
        "benchmark": "sampling",
        "data": arguments.question,
        "split": f"{len(cases)} unseen{fold}, one half calibrated on the other",
        "model": arguments.model,
        "preset": "default",
        "seed": arguments.seed,
        "budget_minutes": arguments.minutes,
        "cases": len(cases),
        "command": command(arguments),
        "commit": commit(),
    }
    subjects = {case.name: case.subject for case in cases}
    result = {
        **common,
        "subjects": subjects,
        "training_steps": training_steps,
        "scores": {way: {"cases": scores} for way, scores in found.items()},
        "records": [{**common, **figure} for figure in figures(found)],
    }
    name = run_name(arguments, arguments.model, arguments.seed).replace("raters-", "sampling-", 1)
    path = write_result(name, result)
    print(path, json.dumps({one["metric"]: round(one["value"], 4) for one in result["records"]}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("question", choices=tuple(dict.fromkeys((*OPENED, *SETS))))
    parser.add_argument("--data-root", type=Path, help="not for phantom and either")
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--model", default="ldseg", help="as for raters.py")
    parser.add_argument("--minutes", type=float, default=5, help="CPU minutes of the training")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--fold", type=int, choices=range(FOLDS), help="of bubil: the part that tests")
    parser.add_argument("--run", type=Path, nargs=1, dest="members", help="score this run")
    parser.set_defaults(test_folder=None)
    return parser.parse_args()


def command(arguments: argparse.Namespace) -> str:
    """Return the command without the folders of this machine."""
    words = [f"python benchmarks/sampling.py {arguments.question}"]
    words += ["--data-root DATA"] if arguments.data_root else []
    words += [
        f"--work WORK --model {arguments.model} --minutes {arguments.minutes:g} --seed {arguments.seed}"
    ]
    words += [] if arguments.fold is None else [f"--fold {arguments.fold}"]
    words += ["--run RUN"] if arguments.members else []
    return " ".join(words)


def halves(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Return the cases of one half of the subjects, drawn with seed 0, and of the other."""
    subjects = sorted({case.subject for case in cases})
    first = set(np.random.default_rng(0).permutation(subjects)[: len(subjects) // 2].tolist())
    return [case for case in cases if case.subject in first], [
        case for case in cases if case.subject not in first
    ]


def score(predictor: Predictor, dataset: DataSet, parts: tuple[list[Case], list[Case]]) -> Found:
    """Return the scores of all ways to draw samples, each half of the cases calibrated on the other."""
    found: Found = {}
    ids = list(predictor.plan.classes.values())
    preset_steps = PRESETS["default"](predictor.plan).posterior.steps
    for fitted_on, scored in (parts, parts[::-1]):
        for steps in sorted({*STEPS, preset_steps}):
            calibration, _ = fit_on_cases(predictor, dataset, fitted_on, SAMPLES, steps, 0, ignore_case)
            print(steps, "steps", calibration, flush=True)
            for way, changed in ways(calibration, steps, steps == preset_steps):
                drawing = predictor.with_changes(calibration=changed)
                for case in scored:
                    image, masks = load_case(dataset, case)
                    drawn = drawing(image, case.name, steps, SAMPLES, keep_samples=True)
                    maps = [one.array[0] for one in drawn.samples]
                    scores = scores_of(maps, drawn, masks, predictor.plan)
                    if changed is calibration:
                        scores["covered"] = share_in_intervals(drawn, masks, predictor.plan)
                    found.setdefault(way, {})[case.name] = scores
                    if changed is calibration and steps == preset_steps:
                        levels = level_sets(drawn.probabilities.array, ids, SAMPLES)
                        of_levels = scores_of(levels, drawn, masks, predictor.plan)
                        found.setdefault(f"{way},_levels_of_the_mean", {})[case.name] = of_levels
    return found


def ways(calibration: Calibration, steps: int, preset: bool) -> Iterator[tuple[str, Calibration]]:
    """Yield the name of each way to draw samples in so many steps, and its calibration."""
    yield f"{steps}_steps", calibration
    coherence = calibration.coherence
    if not preset or coherence is None:
        return
    for sharpness in SHARPNESSES:
        temperature = coherence.temperature * sharpness / SHARPNESS
        changed = replace(coherence, temperature=temperature)
        yield f"{steps}_steps,_temperature_x_{sharpness:g}", replace(calibration, coherence=changed)
    yield f"{steps}_steps,_as_drawn", replace(calibration, coherence=None)


def scores_of(maps: Sequence[Labels], drawn: Prediction, masks: Sequence[Volume], plan: Plan) -> Scores:
    """Return the scores of label maps, without the coverage of their own quantiles."""
    raters = [mask.array[0] for mask in masks]
    scores = distribution_scores(maps, drawn.labels.array[0], raters, list(plan.classes.values()))
    return {name: value for name, value in scores.items() if name != "covered"}


def share_in_intervals(drawn: Prediction, masks: Sequence[Volume], plan: Plan) -> float:
    """Return the share of the raters' volumes that lie in the calibrated 90 % intervals of a prediction."""
    inside = [
        drawn.volumes[name].low <= volume <= drawn.volumes[name].high
        for mask in masks
        for name, volume in structure_volumes(
            class_indices(mask.array[0], plan.classes, None), mask, plan.classes
        ).items()
    ]
    return float(np.mean(inside))


def figures(found: Found) -> Iterator[dict[str, Any]]:
    """Yield the mean of each metric of each way."""
    for way, scores in found.items():
        for metric in METRICS:
            values = [one[metric] for one in scores.values() if metric in one]
            if values:
                yield {"metric": f"{metric}_of_{way}", "value": float(np.mean(values))}


if __name__ == "__main__":
    main()
