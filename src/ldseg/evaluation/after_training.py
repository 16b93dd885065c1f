"""What a training ends with: the model's confidence and out-of-distribution detector, fitted and stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ldseg.data.cases import DataSet
from ldseg.data.splits import Fold, evenly_spaced
from ldseg.evaluation.calibration_fit import NoStructureError, calibrate
from ldseg.evaluation.out_of_distribution_fit import fit_and_store_detector
from ldseg.inference.predictor import Predictor
from ldseg.runs.files import CALIBRATION_FILE, OUT_OF_DISTRIBUTION_FILE
from ldseg.training.pace import CALIBRATION_CASES
from ldseg.training.trainer import TrainingResult
from ldseg.utils.distributed import DistributedContext

OnEvent = Callable[[dict[str, Any]], None]


def calibrate_trained(
    dataset: DataSet,
    part: Fold,
    result: TrainingResult,
    context: DistributedContext,
    device: str | None,
    on_event: OnEvent,
) -> None:
    """Fit and store confidence and detector on rank 0, unless a finished training has them.

    The confidence is fitted on validation cases of `part` that are not among its training cases, the detector
    on the images of all its cases.

    Raises:
        InputError: a case cannot be read, or the disk refuses.
    """
    folder, device = result.folder, context.device_name(device)
    seen = sorted({*part.train, *part.validation})
    if not (result.already and (folder / CALIBRATION_FILE).is_file()):
        context.on_rank_zero(lambda: _calibrate(dataset, part.unseen, folder, device, on_event))
    if not (result.already and (folder / OUT_OF_DISTRIBUTION_FILE).is_file()):
        context.on_rank_zero(lambda: _fit_detector(dataset, seen, folder, device, on_event))


def _calibrate(
    dataset: DataSet, names: Sequence[str], folder: Path, device: str | None, on_event: OnEvent
) -> None:
    """Fit the model's confidence on at most `CALIBRATION_CASES` cases of `names`, evenly spaced."""

    def show(progress: float, case: str) -> None:
        on_event({"event": "calibrating", "progress": progress, "case": case})

    if not names:
        return
    chosen = evenly_spaced(names, CALIBRATION_CASES)
    cases = [case for case in dataset.cases if case.name in chosen]
    predictor = Predictor.load(folder, device, calibrated=False)
    try:
        calibrate(folder, predictor, dataset, cases, predictor.settings.posterior.samples, on_case=show)
    except NoStructureError as error:
        on_event({"event": "warning", "warnings": [f"not calibrated: {error}"]})


def _fit_detector(
    dataset: DataSet, names: Sequence[str], folder: Path, device: str | None, on_event: OnEvent
) -> None:
    """Fit and store the out-of-distribution detector on the images of the cases `names`."""

    def show(progress: float, case: str) -> None:
        on_event({"event": "encoding", "progress": progress, "case": case})

    cases = [case for case in dataset.cases if case.name in set(names)]
    predictor = Predictor.load(folder, device, calibrated=False)
    fit_and_store_detector(folder, predictor, dataset, cases, show)
