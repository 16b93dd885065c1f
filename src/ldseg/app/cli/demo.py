"""ldseg demo: train, predict and evaluate on one real brain in a few minutes, and draw a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.app.cli import predict, train
from ldseg.app.cli.options import add_json
from ldseg.app.cli.output import note, print_json, print_line, progress

if TYPE_CHECKING:
    from ldseg.app.demo import DemoFiles
    from ldseg.evaluation.scores import Scores

SUMMARY = "Train, predict and evaluate on one real brain, in a few minutes, and draw a figure."
USAGE = "[-o FOLDER] [options]"
EXAMPLE = "ldseg demo -o demo --minutes 3"
SAMPLES = 8
_INTERRUPTED = 130


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("ldseg-demo"), metavar="FOLDER", help="new folder"
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="of training")
    parser.add_argument("--seed", type=int, default=0, help="of training and prediction; 0 by default")
    parser.add_argument("--device", help="e.g. cpu, cuda, mps; the best one here by default")
    add_json(parser)


def run(arguments: Any) -> int:
    """Run all steps of the demonstration and return 0, or 130 if training is interrupted."""
    from ldseg.api import train_run
    from ldseg.app.cli.destination import check_output_folder
    from ldseg.app.demo import NOTE, SUBJECT_PATTERN, demo_files, write_demo_dataset, write_demo_splits
    from ldseg.data.cases import DataOptions
    from ldseg.errors import InputError
    from ldseg.runs.run_setup import SplitOptions
    from ldseg.training.run_settings import check_training
    from ldseg.utils.system import keep_freed_memory

    folder: Path = arguments.output
    if not arguments.minutes > 0:
        raise InputError(f"--minutes is {arguments.minutes:g}; give a number above 0")
    check_output_folder(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is not an empty folder; remove it, or choose another with -o")
    changes = {
        "training": {
            "minutes": arguments.minutes,
            "seed": arguments.seed,
            "validations": 3,
            "validation_cases": 4,
        }
    }
    check_training(None, changes)
    keep_freed_memory()
    files = demo_files(folder)
    note("cutting a brain (MNI152 T1) into blocks to train on and a part to test on")
    write_demo_dataset(files.dataset)
    write_demo_splits(files)
    with progress("training") as bar:
        result = train_run(
            files.dataset,
            files.run,
            changes=changes,
            options=DataOptions(subject_pattern=SUBJECT_PATTERN),
            split=SplitOptions(files.splits),
            device=arguments.device,
            on_event=train.ProgressReporter(bar),
        )
    if result.interrupted:
        note(f"interrupted after {result.steps} steps; the model so far is in {files.run}")
        return _INTERRUPTED
    scores = _test(files, arguments.seed, arguments.device)
    _show(arguments, files, scores, NOTE)
    return 0


def _test(files: DemoFiles, seed: int, device: str | None) -> Scores:
    """Predict the test case, score it and draw it."""
    from ldseg.app.demo import CLASSES, TEST_CASE, write_demo_figure
    from ldseg.data.formats import read_volume
    from ldseg.data.inputs import find_inputs
    from ldseg.evaluation.evaluate_folders import EvaluationOptions, evaluate_folders
    from ldseg.evaluation.scores import write_scores
    from ldseg.inference.predict_cases import PredictOptions, predict_cases
    from ldseg.inference.predictor import Predictor

    predictor = Predictor.load(files.run, device)
    cases = find_inputs([files.dataset / "imagesTr" / f"{TEST_CASE}_0000.nii.gz"], 1, "zyx")
    options = PredictOptions(samples=SAMPLES, seed=seed, save=("labels", "uncertainty"))
    with progress("predicting") as bar:
        predict_cases(
            predictor, cases, files.predictions, options, on_event=predict.ProgressReporter(bar, len(cases))
        )
    scores = evaluate_folders(files.predictions, files.dataset, EvaluationOptions(partial=True))
    write_scores(files.scores, scores)
    write_demo_figure(
        files.figure,
        read_volume(cases[0].images[0], "image"),
        read_volume(files.dataset / "labelsTr" / f"{TEST_CASE}.nii.gz", "labels"),
        read_volume(files.predictions / f"{TEST_CASE}.nii.gz", "labels"),
        read_volume(files.predictions / f"{TEST_CASE}_uncertainty.nii.gz", "image"),
        CLASSES,
        f"Dice {scores.mean_dice:.2f} on a part of the brain that was not trained on",
    )
    return scores


def _show(arguments: Any, files: DemoFiles, scores: Scores, remark: str) -> None:
    if arguments.json:
        paths = {name: str(path) for name, path in vars(files).items()}
        print_json({"files": paths, "mean_dice": scores.mean_dice, "note": remark})
        return
    for name in scores.metrics:
        (dice,) = scores.values(name, "dice")
        print_line(f"Dice of {name.replace('_', ' ')}: {dice:.3f}")
    for name, path in vars(files).items():
        print_line(f"{name:<12}{path}")
    print_line(remark)
    print_line("your own images: ldseg train FOLDER -o RUN, then ldseg predict IMAGE -m RUN -o OUT")
