"""Do samples disagree as raters do?

    python benchmarks/raters.py phantom --work FOLDER --minutes 30       # or: either
    python benchmarks/raters.py lidc --data-root FOLDER --work FOLDER --minutes 5
    python benchmarks/raters.py bubil --data-root FOLDER --work FOLDER --minutes 12 --fold 0 [--model unet]
    python benchmarks/raters.py bubil --data-root FOLDER --work FOLDER --minutes 12 --test-folder OTHER
    python benchmarks/raters.py bubil ... --model unet_ensemble           # five U-Nets, each of these minutes
    python benchmarks/raters.py either ... --model ldseg_attention        # with attention in the denoiser
    python benchmarks/raters.py bubil ... --members RUN RUN RUN           # trained runs, as one ensemble
    python benchmarks/raters.py bubil ... --steps 2                       # the same run, other sampling steps
    python benchmarks/rater_differences.py --data bubil                   # compares what was measured

phantom: synthetic 2D pictures with an appendage that 30 % of all masks include, always the whole of it, and
nothing in the picture tells which (`ldseg.data.phantom`). A model that learnt the distribution includes it in
30 % of its samples, the whole of it. either: with two appendages on opposite sides, of which each mask
includes one, 30 % of them the lower: level sets are nested and cannot say so. lidc: 28 crops of lung nodules
with the masks of four readers, some of them empty; trained on its 19 training crops, scored on the other 9.
It is far too small for a claim. bubil: 112 images of cells with nine or ten masks each; trained on four
fifths of the blocks of ten numbers and scored on the others (`--fold`), or trained on all and scored on
another folder like it (`--test-folder`). Of the training cases a sixth, by subject, is kept back and
calibrates the model, so that the level sets too are those of calibrated probabilities.
Beside the samples stand level sets of the same model's probabilities (see `rater_scores`). An ensemble has as
many samples as members where these are deterministic.
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
from ldseg.data.dataset import DataSet, load_image, load_labels, open_dataset
from ldseg.data.formats import read_volume
from ldseg.data.phantom import APPENDAGES, CLASSES
from ldseg.evaluation.calibration_fit import fit_on_cases, ignore_case
from ldseg.inference.base_predictor import BasePredictor, Prediction
from ldseg.inference.ensemble_files import load_models
from ldseg.inference.predictor import Predictor
from ldseg.metrics.ambiguity import inclusion_frequency
from ldseg.metrics.intervals import mean_interval
from ldseg.planning.plan import Plan
from ldseg.runs.files import LOG_FILE
from ldseg.settings import RunSettings
from rater_scores import Labels, Scores, distribution_scores, frequency_scores, level_sets, rater_dice
from rater_sets import FOLDS, OPENED, OPTIONS, SHARE, part_of, run_name, unseen_of
from records import as_a_command, commit, write_result
from trainings import MODELS, settings_for, train_calibrated

SAMPLES = {"phantom": (64,), "either": (16,), "lidc": (16, 50), "bubil": (16, 50)}
ATTENTION = "ldseg_attention"
ENSEMBLE = "unet_ensemble"
CHOICES = (*MODELS, ATTENTION, ENSEMBLE)
MEMBERS = 5
"""U-Nets of `unet_ensemble`; with seed s, those of the seeds 5 s to 5 s + 4."""
Found = dict[str, dict[str, Scores]]
"""Scores by the source of the distribution and by case."""


def main() -> None:
    arguments = parse()
    as_a_command(1)
    dataset, test = OPENED[arguments.question](arguments)
    runs, steps = trained_runs(arguments, dataset, test)
    model, words = arguments.model, arguments.model
    predictor: BasePredictor = load_models(runs)
    if arguments.steps is not None:
        predictor = in_steps(Predictor.load(runs[0]), dataset, unseen_of(dataset, test), arguments.steps)
        model, words = f"{model}, {arguments.steps} steps", f"{model}-{arguments.steps}steps"
    scored = dataset if arguments.test_folder is None else open_dataset(arguments.test_folder, OPTIONS)
    cases = [case for case in scored.cases if arguments.test_folder or case.name in test]
    found, seconds = score(predictor, scored, cases, SAMPLES[arguments.question])
    common = {
        "benchmark": "raters",
        "data": arguments.question,
        "split": f"{len(dataset.cases) - len(test)} train, {len(cases)} test{part_of(arguments)}",
        "model": model,
        "preset": "default",
        "seed": arguments.seed,
        "budget_minutes": arguments.minutes * len(runs),
        "cases": len(cases),
        "command": command(arguments),
        "commit": commit(),
    }
    subjects = {case.name: case.subject for case in cases}
    figures: dict[str, float] = {"training_steps": steps, **seconds}
    if arguments.question in ("phantom", "either"):
        figures |= inclusion(predictor, dataset, cases, SAMPLES[arguments.question][0])
    records = [*means(common, found, subjects), *single_figures(common, figures)]
    tables = {source: {"cases": scores} for source, scores in found.items()}
    path = write_result(
        run_name(arguments, words, arguments.seed),
        {**common, "subjects": subjects, "scores": tables, "records": records},
    )
    print(path, json.dumps({r["metric"]: round(r["value"], 4) for r in records}))


def trained_runs(arguments: argparse.Namespace, dataset: DataSet, test: set[str]) -> tuple[list[Path], float]:
    """Return the runs of the model or of the members of an ensemble, trained if they are not yet, and their
    mean number of steps."""
    if arguments.members:
        return arguments.members, float(np.mean([_steps_of(run) for run in arguments.members]))
    ensemble = arguments.model == ENSEMBLE
    model = "unet" if ensemble else arguments.model
    first = MEMBERS * arguments.seed
    seeds = range(first, first + MEMBERS) if ensemble else [arguments.seed]
    runs: list[Path] = []
    steps: list[int] = []
    for seed in seeds:

        def chosen(plan: Plan, seed: int = seed) -> RunSettings:
            if model == ATTENTION:
                return with_attention(settings_for(plan, arguments.minutes, seed))
            return settings_for(plan, arguments.minutes, seed, model)

        runs.append(arguments.work / run_name(arguments, model, seed).replace("-other", "-all"))
        steps.append(train_calibrated(dataset, test, unseen_of(dataset, test), chosen, runs[-1]).steps)
    return runs, float(np.mean(steps))


def in_steps(predictor: Predictor, dataset: DataSet, kept_back: set[str], steps: int) -> Predictor:
    """Return the model that draws samples in so many steps, calibrated anew with them on the cases that
    neither train nor test."""
    posterior = replace(predictor.settings.posterior, steps=steps)
    settings = replace(predictor.settings, posterior=posterior)
    changed = Predictor(
        predictor.plan, settings, predictor.backend, identity=predictor.identity, detector=predictor.detector
    )
    cases = [case for case in dataset.cases if case.name in kept_back]
    calibration, _ = fit_on_cases(changed, dataset, cases, posterior.samples, steps, 0, ignore_case)
    return changed.with_changes(calibration=calibration)


def with_attention(settings: RunSettings) -> RunSettings:
    """Return settings whose denoiser attends over its first stage; `--model.denoiser.stages.attention 0`."""
    denoiser = settings.model.denoiser
    denoiser = replace(denoiser, stages=replace(denoiser.stages, attention=(0,)))
    return replace(settings, model=replace(settings.model, denoiser=denoiser))


def means(common: dict[str, Any], found: Found, subjects: dict[str, str]) -> list[dict[str, Any]]:
    """Return a record for the mean of each score of each source, and one for the diversity of the maps as a
    share of that of the raters."""
    records: list[dict[str, Any]] = []
    for source, scores in found.items():
        of_cases = [subjects[name] for name in scores]
        columns = {metric: [one[metric] for one in scores.values()] for metric in next(iter(scores.values()))}
        for metric, values in columns.items():
            records.append({**common, "metric": f"{metric}_of_{source}", **mean_figure(values, of_cases)})
        share = np.mean(columns["sample_diversity"]) / max(1e-12, np.mean(columns["rater_diversity"]))
        name = f"diversity_share_of_{source}"
        records.append({**common, "metric": name, "value": float(share), "low": None, "high": None})
    return records


def single_figures(common: dict[str, Any], figures: dict[str, float]) -> list[dict[str, Any]]:
    """Return a record for each figure of a run as a whole."""
    return [{**common, "metric": metric, "value": value} for metric, value in figures.items()]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("question", choices=tuple(OPENED))
    parser.add_argument("--data-root", type=Path, help="for lidc and bubil")
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--model", default="ldseg", help=", ".join(CHOICES))
    parser.add_argument("--minutes", type=float, default=10, help="CPU minutes of each training")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--fold", type=int, choices=range(FOLDS), help="of bubil: the part that is scored")
    parser.add_argument("--test-folder", type=Path, help="of bubil: train on all, score on this folder")
    parser.add_argument(
        "--members", type=Path, nargs="+", help="score these runs as one ensemble, called --model"
    )
    parser.add_argument("--steps", type=int, help="of samples; fits the calibration anew; default: the run's")
    arguments = parser.parse_args()
    if arguments.steps is not None and (len(arguments.members or [0]) > 1 or arguments.model == ENSEMBLE):
        parser.error("--steps is for one run; leave it out for an ensemble")
    if not arguments.members and arguments.model not in CHOICES:
        parser.error(f"--model is {arguments.model}; choose one of {', '.join(CHOICES)}")
    return arguments


def command(arguments: argparse.Namespace) -> str:
    """Return the command without the folders of this machine."""
    root = " --data-root DATA" if arguments.data_root else ""
    words = f"--work WORK --model {arguments.model} --minutes {arguments.minutes:g} --seed {arguments.seed}"
    fold = "" if arguments.fold is None else f" --fold {arguments.fold}"
    other = "" if arguments.test_folder is None else " --test-folder OTHER"
    other += " --members RUN ..." if arguments.members else ""
    other += "" if arguments.steps is None else f" --steps {arguments.steps}"
    return f"python benchmarks/raters.py {arguments.question}{root} {words}{fold}{other}"


def score(
    predictor: BasePredictor, dataset: DataSet, cases: Sequence[Case], numbers: Sequence[int]
) -> tuple[Found, dict[str, float]]:
    """Return the scores of samples and level sets, and the CPU seconds of a deterministic prediction and of
    one with few samples."""
    found: Found = {}
    spent = {"predict_cpu_s_deterministic": 0.0, "predict_cpu_s": 0.0}
    deciding = predictor.deciding_by("expected-dice")
    counts = sorted({predictor.sampling(samples=number).samples for number in numbers} - {1})
    for case in cases:
        image = load_image(dataset, case)
        raters = [one.array[0] for one in load_labels(dataset, case)]
        before = time.process_time()
        single = predictor(image, case.name, samples=1)
        spent["predict_cpu_s_deterministic"] += (time.process_time() - before) / len(cases)
        for number in numbers:
            scores = _scores_of_levels(single, single.labels.array[0], raters, predictor.plan, number)
            found.setdefault(f"{number}_levels_of_the_deterministic", {})[case.name] = scores
        for number in counts:
            before = time.process_time()
            drawn = deciding(image, case.name, samples=number, keep_samples=True)
            spent["predict_cpu_s"] += (time.process_time() - before) / len(cases) * (number == counts[0])
            scores, fused = _scores_of_samples(drawn, raters, predictor.plan)
            found.setdefault(f"{number}_samples", {})[case.name] = scores
            for levels in (number, *(numbers if len(counts) < len(numbers) else ())):
                scores = _scores_of_levels(drawn, fused, raters, predictor.plan, levels)
                found.setdefault(f"{levels}_levels_of_the_mean", {})[case.name] = scores
    return found, spent


def _scores_of_samples(drawn: Prediction, raters: Sequence[Labels], plan: Plan) -> tuple[Scores, Labels]:
    """Return the scores of samples, and the likeliest classes of their mean. The mean Dice with the raters is
    that of these, and of the labels that expected Dice chooses."""
    ids = list(plan.classes.values())
    fused = np.asarray(ids)[drawn.probabilities.array.argmax(0)]
    scores = distribution_scores([one.array[0] for one in drawn.samples], fused, raters, ids)
    scores |= frequency_scores(drawn.probabilities.array, raters, ids)
    return {**scores, "decided_rater_dice": rater_dice(drawn.labels.array[0], raters, ids)}, fused


def _scores_of_levels(
    found: Prediction, fused: Labels, raters: Sequence[Labels], plan: Plan, number: int
) -> Scores:
    """Return the scores of so many level sets of the probabilities of a prediction."""
    ids, probabilities = list(plan.classes.values()), found.probabilities.array
    scores = distribution_scores(level_sets(probabilities, ids, number), fused, raters, ids)
    return scores | frequency_scores(probabilities, raters, ids)


def _steps_of(run: Path) -> int:
    """Return the steps that a run was trained."""
    lines = (run / LOG_FILE).read_text(encoding="utf-8").splitlines()
    return max(record.get("step", 0) for record in map(json.loads, lines))


def mean_figure(values: Sequence[float], subjects: Sequence[str]) -> dict[str, float | None]:
    """Return the mean with its interval over subjects as a record has them."""
    interval = mean_interval(values, subjects)
    low, high = interval if interval is not None else (None, None)
    return {"value": float(np.mean(values)), "low": low, "high": high}


def inclusion(
    predictor: BasePredictor, dataset: DataSet, cases: Sequence[Case], samples: int
) -> dict[str, float]:
    """Return the share of samples that include the first appendage, of those that include a part of it, and
    where there are two appendages of those that include one of them."""
    frequencies: list[float] = []
    undecided: list[float] = []
    one_of_two: list[float] = []
    for case in cases:
        numbers = read_volume(dataset.root / APPENDAGES / f"{case.name}.png", "labels").array[0]
        found = predictor(load_image(dataset, case), case.name, samples=samples, keep_samples=True)
        maps = [one.array[0] for one in found.samples]
        frequencies.append(inclusion_frequency(maps, numbers == 1, CLASSES["wall"]))
        parts = np.array(
            [
                [np.mean(one[numbers == n] == CLASSES["wall"]) for one in maps]
                for n in range(1, numbers.max() + 1)
            ]
        )
        undecided.append(float(np.mean((parts[0] > 0.2) & (parts[0] < 0.8))))
        if len(parts) == 2:
            one_of_two.append(float(np.mean((parts > 0.5).sum(0) == 1)))
    figures = {
        "rater_frequency": SHARE,
        "sample_frequency": float(np.mean(frequencies)),
        "sample_frequency_lowest_case": min(frequencies),
        "sample_frequency_highest_case": max(frequencies),
        "samples_with_a_part": float(np.mean(undecided)),
    }
    if one_of_two:
        figures["samples_with_one_of_two"] = float(np.mean(one_of_two))
    return figures


if __name__ == "__main__":
    main()
