"""Does 2D+time work on patients that the model has not seen, where 2 of 20 frames are labelled?

    python benchmarks/cine.py --patient NAME --data-root FOLDER --work FOLDER --minutes 15

Trains on the other three patients of `sunnybrook` (frames that nobody labelled are ignored) and predicts all
frames of this one's slices. Scored: the labelled frames, Dice of neighbouring frames, ejection fractions of
the areas summed over slices, and how rough the area curve is. Writes the predicted outlines of the slice with
the largest cavity as results/cine-PATIENT-MODEL-PRESET.png; nothing of the image is in it.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from accuracy import score as film_scores
from accuracy import score_by_steps
from ldseg.data.cases import Case, DataSet
from ldseg.data.dataset import load_image, load_labels
from ldseg.data.formats import write_volume
from ldseg.data.volume import Volume
from ldseg.evaluation.evaluate_folders import EvaluationOptions, evaluate_folders
from ldseg.evaluation.scores import Scores, to_json
from ldseg.inference.predictor import Predictor
from ldseg.metrics.dice import dice_of_counts
from ldseg.presets import PRESETS
from records import RESULTS, as_a_command, commit, peak_memory_gb, write_result
from sets import SETS, open_set
from trainings import command_of, settings_for, train_without

SET, STRUCTURE = "sunnybrook", "class_1"
WATCHED = 2
"""Training films that the curve of a run is drawn from."""


def main() -> None:
    arguments = parse()
    as_a_command(1)
    trained = f"{arguments.model}-{arguments.preset}-seed{arguments.seed}-{arguments.minutes:g}min"
    name = f"cine-{arguments.patient}-{trained}"
    dataset, _ = open_set(SET, arguments.data_root)
    left_out = [case for case in dataset.cases if case.subject == arguments.patient]
    if not left_out:
        patients = ", ".join(sorted({case.subject for case in dataset.cases}))
        raise SystemExit(f"no patient {arguments.patient!r}; there are {patients}")
    run = arguments.work / name
    test = {case.name for case in left_out}
    chosen = partial(
        settings_for,
        cpu_minutes=arguments.minutes,
        seed=arguments.seed,
        model=arguments.model,
        preset=arguments.preset,
    )
    steps = train_without(dataset, test, chosen, run, WATCHED).steps
    predictor = Predictor.load(run)
    predicted = predict_all(arguments, dataset, left_out, predictor, run)
    scores = score(arguments, run)
    found = to_json(scores)
    whole = scores.subject_cine()[arguments.patient][STRUCTURE]
    figures = {
        "mean_dice": scores.mean_dice,
        "mean_hd95_mm": found["mean"][STRUCTURE]["hd95_mm"],
        "neighbour_dice": whole.neighbour_dice,
        **whole.ejection_fractions(),
        **phase_dice(dataset, left_out, predicted),
        "roughness": roughness(whole.areas),
        "training_steps": steps,
    }
    common = {
        "benchmark": "cine",
        "data": SET,
        "split": f"{len(dataset.cases) - len(left_out)} train, {len(left_out)} test, of {arguments.patient}",
        "model": arguments.model,
        "preset": arguments.preset,
        "seed": arguments.seed,
        "budget_minutes": arguments.minutes,
        "cases": len(left_out),
        "command": command_of("cine.py", arguments),
        "commit": commit(),
    }
    records = [{**common, "metric": metric, "value": value} for metric, value in figures.items()]
    curves = {key: found[key] for key in ("cycle", "subject_cycle", "cases")}
    result = {**common, "records": records, **curves, **as_accuracy(dataset, left_out, predictor, steps)}
    print(write_result(name, result), json.dumps(figures))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--patient", required=True, help="who is left out; the subject's name")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--model", choices=("ldseg", "unet"), default="ldseg")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="default")
    parser.add_argument("--minutes", type=float, default=15, help="CPU minutes of training")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    return parser.parse_args()


def as_accuracy(
    dataset: DataSet, left_out: list[Case], predictor: Predictor, training_steps: int
) -> dict[str, Any]:
    """Return a result like that of `accuracy.py`, for `films.py` to pool the patients."""
    return {
        "training": {"steps": training_steps},
        "peak_rss_gb": peak_memory_gb(),
        "own": film_scores(predictor, dataset, left_out),
        "steps": score_by_steps(predictor, dataset, left_out),
    }


def predict_all(
    arguments: argparse.Namespace, dataset: DataSet, left_out: list[Case], predictor: Predictor, run: Path
) -> dict[str, Volume]:
    """Into a folder of the run; and the picture of one slice."""
    out = run / "predictions"
    out.mkdir(exist_ok=True)
    found: dict[str, Volume] = {}
    for case in left_out:
        found[case.name] = predictor(load_image(dataset, case), case.name).labels
        write_volume(out / f"{case.name}.nii.gz", found[case.name])
    largest = max(found, key=lambda name: int((found[name].array > 0).sum()))
    picture = f"cine-{arguments.patient}-{arguments.model}-{arguments.preset}.png"
    draw(found[largest].array[0] > 0, RESULTS / picture)
    return found


def score(arguments: argparse.Namespace, run: Path) -> Scores:
    """Score the predictions as `ldseg evaluate` does."""
    chosen = SETS[SET]
    options = EvaluationOptions(partial=True, data=chosen.options)
    return evaluate_folders(run / "predictions", arguments.data_root / chosen.folder, options)


def phase_dice(dataset: DataSet, cases: list[Case], predicted: dict[str, Volume]) -> dict[str, float]:
    """Dice of the cavity, all slices together, in the labelled phase in which it is largest and in the one in
    which it is smallest."""
    found: dict[int, np.ndarray] = {}
    for case in cases:
        truth, answer = load_labels(dataset, case)[0].array[0], predicted[case.name].array[0] > 0
        for frame, (mask, said) in enumerate(zip(truth, answer, strict=True)):
            if (mask != dataset.ignore_id).all():
                sizes = [(mask > 0).sum(), said.sum(), ((mask > 0) & said).sum()]
                found[frame] = found.get(frame, np.zeros(3)) + np.array(sizes, float)
    ordered = sorted(found.values(), key=lambda sizes: sizes[0])
    dice = [
        float(dice_of_counts(both, mine + theirs, empty=0.0))
        for theirs, mine, both in (ordered[-1], ordered[0])
    ]
    return {"dice_largest_phase": dice[0], "dice_smallest_phase": dice[1]}


def roughness(areas: tuple[float, ...]) -> float:
    """Root mean square of the second differences around the cycle, over what white noise of the curve's own
    deviation has (sqrt(6) times it): 1 is noise, near 0 is smooth."""
    curve = np.asarray(areas)
    second = np.roll(curve, 1) - 2 * curve + np.roll(curve, -1)
    return float(np.sqrt(np.mean(second**2)) / max(np.sqrt(6) * curve.std(), 1e-9))


def draw(masks: np.ndarray, path: Path) -> None:
    """Outlines of all frames, cut to the structure, first to last."""
    rows, columns = np.nonzero(masks.any(0))
    margin = 4
    place = (
        slice(max(0, rows.min() - margin), rows.max() + margin + 1),
        slice(max(0, columns.min() - margin), columns.max() + margin + 1),
    )
    across = 10
    figure = Figure(figsize=(across, 1.1 * -(-len(masks) // across)), layout="constrained")
    axes = figure.subplots(-(-len(masks) // across), across, squeeze=False).ravel()
    for frame, (one, mask) in enumerate(zip(axes, masks, strict=False)):
        one.contourf(mask[place][::-1].astype(float), [0.5, 1.5], colors=["#9ecae1"])
        one.contour(mask[place][::-1].astype(float), [0.5], colors=["#08519c"], linewidths=1)
        one.set_title(str(frame), fontsize=7, pad=2)
    for one in axes:
        one.set_aspect("equal")
        one.set_axis_off()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
