"""Cross-validated scores: each case is predicted by the model that had not seen it, and all are pooled.

RUN/fold_0/validation/ ...    labels that the fold's model predicts for its validation cases
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ldseg.data.cases import Case, DataSet, cases_named
from ldseg.data.dataset import open_dataset
from ldseg.data.splits import Splits, match_spelling, read_splits
from ldseg.data.unread import OnRemark, ignore_remark
from ldseg.errors import InputError, file_error, listed
from ldseg.evaluation.evaluate_folders import EvaluationOptions, score_files
from ldseg.evaluation.scores import Scores
from ldseg.inference.decision import Decision
from ldseg.inference.predict_cases import PredictOptions, predict_cases
from ldseg.inference.predictor import Predictor
from ldseg.runs.files import DATA_FILE, SETTINGS_FILE, SPLITS_FILE, VALIDATION_FOLDER
from ldseg.runs.folds import begun_folds, fold_folder, is_run
from ldseg.runs.run_setup import read_data_options, read_data_root
from ldseg.runs.saved_model import read_settings
from ldseg.training.trainer import finished_training

OnCase = Callable[[float, str], None]


def cross_validate(
    run: Path | str,
    data: Path | str | None = None,
    options: EvaluationOptions | None = None,
    device: str | None = None,
    on_case: OnCase = lambda _share, _case: None,
    on_remark: OnRemark = ignore_remark,
    decision: Decision | None = None,
) -> Scores:
    """Predict the validation cases of each fold of `run` with the fold's model, and score all together.

    A run without folds is scored on the validation cases of its one model. Predictions are as
    `ldseg predict` makes them, in the folder `validation` of each model. Intervals are by subject.

    Args:
        run: folder of a training, with or without folds.
        data: the data set, if it is no longer where the training found it.
        options: tolerances; `partial` scores the folds that are trained, `keep_going` the cases that can be
            scored; how masks are read is stored with the run.
        device: "cpu", "cuda" or "mps", None for the fastest.
        on_case: called with the share of all cases that is done and the name of each case.
        on_remark: called with a sentence for what was assumed or changed on reading.
        decision: how labels follow from several samples; None for what each model's calibration chose.

    Raises:
        InputError: no run, a fold that is not trained, data that are not those of the run, no case that a
            model had not seen.
    """
    run, options = Path(run), options or EvaluationOptions()
    if not is_run(run):
        raise file_error(run, "holds no training", "give the folder that `ldseg train` wrote with -o")
    root = read_data_root(run / DATA_FILE) if data is None else Path(data)
    if not root.exists():
        raise file_error(
            root, f"the data of {run} are not there any more", "say where: ldseg evaluate RUN DATA"
        )
    dataset = open_dataset(root, read_data_options(run / DATA_FILE))
    splits = match_spelling(read_splits(run / SPLITS_FILE), dataset.cases)
    unseen = _unseen_cases(run, dataset, splits, options.partial)
    files: dict[str, Path] = {}
    failed: dict[str, str] = {}
    progress = _Progress(on_case, sum(map(len, unseen.values())))
    for folder, cases in unseen.items():
        predictor = Predictor.load(folder, device)
        predicted = predict_cases(
            predictor,
            cases,
            folder / VALIDATION_FOLDER,
            PredictOptions(decision=decision, part="validation"),
            options.keep_going,
            progress,
        )
        files |= {name: paths[-1] for name, paths in predicted.done.items()}
        failed |= predicted.failed
    every = sorted((case for cases in unseen.values() for case in cases), key=lambda case: case.name)
    scores = score_files(dataset, every, files, options, failed, on_remark=on_remark)
    return replace(scores, part="validation")


@dataclass
class _Progress:
    """Counts the predicted cases of all folds."""

    on_case: OnCase
    total: int
    done: int = 0

    def __call__(self, event: dict[str, Any]) -> None:
        self.done += 1
        self.on_case(self.done / self.total, event["case"])


def _unseen_cases(run: Path, dataset: DataSet, splits: Splits, partial: bool) -> dict[Path, tuple[Case, ...]]:
    """Return the folder of each model to the cases that it validated on and did not train on.

    Raises:
        InputError: a fold is not trained to its end (with `partial`: none is), or was trained on other
            splits.
    """
    folders = [fold_folder(run, fold) for fold in range(len(splits.folds))] if begun_folds(run) else [run]
    trained = [folder for folder in folders if finished_training(folder) is not None]
    missing = [folder for folder in folders if folder not in trained]
    if missing and not (partial and trained):
        finding = f"is not trained to its end ({len(missing)} of {len(folders)} are not)"
        remedy = "finish it with ldseg train DATA -o RUN --resume, or score the others with --partial"
        raise file_error(missing[0], finding, remedy)
    found: dict[Path, tuple[Case, ...]] = {}
    for folder in trained:
        if match_spelling(read_splits(folder / SPLITS_FILE), dataset.cases) != splits:
            raise file_error(
                folder / SPLITS_FILE, f"is not that of {run}", "train the folds anew in another folder"
            )
        part = splits.part(read_settings(folder / SETTINGS_FILE).training.fold)
        found[folder] = cases_named(dataset.cases, part.unseen)
    if not any(found.values()):
        names = listed([folder.name for folder in folders])
        raise InputError(f"{run}: there is no case that {names} had not seen; train with --folds 5")
    return found
