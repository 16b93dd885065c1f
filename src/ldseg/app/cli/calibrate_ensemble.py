"""ldseg calibrate of several models: their weights and the calibration of all together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.app.cli.output import note, print_json, print_line, progress
from ldseg.app.cli.sampling_options import report_ignored_options
from ldseg.runs.files import ENSEMBLE_FILE

if TYPE_CHECKING:
    from ldseg.data.cases import Case, DataSet
    from ldseg.evaluation.calibration_report import CalibrationReport
    from ldseg.inference.ensemble import Ensemble
    from ldseg.inference.temperature_scaling import Calibration


def calibrate_ensemble(arguments: Any, folders: Sequence[Path]) -> CalibrationReport | None:
    """Fit the ensemble of the models in `folders`, store it, and print its weights; return the report on the
    cases before, None where it was printed as JSON.

    Raises:
        InputError: a model or the data cannot be used, or no case is unseen by all members.
    """
    from ldseg.app.report.report_data import open_run_data
    from ldseg.evaluation.ensemble_fit import fit_ensemble
    from ldseg.inference.ensemble import Ensemble
    from ldseg.inference.ensemble_files import members_together, store_ensemble
    from ldseg.inference.predictor import Predictor
    from ldseg.utils.serialization import to_json

    out = _output(arguments, folders)
    places = members_together(folders)
    members = [Predictor.load(place, arguments.device) for place in places]  # samples as in predictions
    ensemble = Ensemble(members)
    dataset = open_run_data(places[0], arguments.data, ensemble.plan)
    cases = _unseen_by_all(ensemble, places, dataset, arguments.data is not None)
    samples = ensemble.settings.posterior.samples if arguments.samples is None else arguments.samples
    report_ignored_options(ensemble, ensemble.sampling(arguments.steps, samples), arguments)
    with progress("predicting") as bar:
        fitted, before = fit_ensemble(
            ensemble, dataset, cases, samples, arguments.steps, arguments.seed, bar.show
        )
    store_ensemble(out, fitted, places)
    weights = dict(zip((str(place) for place in places), fitted.weights, strict=True))
    if arguments.json:
        found = {"fitted": to_json(fitted.calibration), "weights": weights, "before": to_json(before)}
        print_json({**found, "cases": len(cases), "folder": str(out)})
        return None
    calibration = fitted.calibration
    for place, weight in weights.items():
        print_line(f"{place}: weight {weight:.3f}")
    print_fitted(
        calibration, f"fitted on {len(cases)} cases; labels of several samples by {calibration.decision}"
    )
    note(f"stored in {out / ENSEMBLE_FILE}: predict with -m {out}")
    return before


def print_fitted(calibration: Calibration, on_what: str) -> None:
    """Print temperatures and the widening of intervals, and `on_what` they were fitted."""
    print_line(
        f"temperature {calibration.temperature:.3f}, intervals widened by {calibration.widening:+.3f} of the "
        f"volume; {on_what}"
    )
    if calibration.single_temperature is not None:
        print_line(f"a single prediction has a temperature of {calibration.single_temperature:.3f}")


def _output(arguments: Any, folders: Sequence[Path]) -> Path:
    """Return the folder for ensemble.json: `-o`, or the run itself whose folds are the members.

    Raises:
        InputError: several models without `-o`, or a folder that holds a model.
    """
    from ldseg.app.cli.destination import check_output_folder
    from ldseg.errors import InputError, file_error
    from ldseg.runs.files import WEIGHTS_FILE

    if arguments.output is None:
        if len(folders) > 1:
            raise InputError("several models are an ensemble: name a folder for its weights with -o")
        return folders[0]
    check_output_folder(arguments.output)
    if (arguments.output / WEIGHTS_FILE).exists():
        raise file_error(arguments.output, "holds a model", "choose another folder with -o")
    return arguments.output


def _unseen_by_all(
    ensemble: Ensemble, places: Sequence[Path], dataset: DataSet, given: bool
) -> tuple[Case, ...]:
    """Return the cases that calibrate every member: validation cases of all, or data unknown to all. `given`
    says whether --data named the data.

    Raises:
        InputError: there is no such case.
    """
    from ldseg.app.report.report_data import calibration_cases
    from ldseg.errors import file_error

    cases: tuple[Case, ...] = ()
    for number, (member, place) in enumerate(zip(ensemble.members, places, strict=True)):
        own = calibration_cases(place, dataset, member.settings)[0]
        names = {case.name for case in own}
        cases = own if number == 0 else tuple(case for case in cases if case.name in names)
    if not cases:
        finding = f"no case is a validation case of all {len(places)} members (folds share none)"
        remedy = "give images and masks that none was trained on with --data; members weigh the same without"
        if given:  # as known cases, since moved data keep their names and change their place
            remedy = (
                "a case with the name of a training case counts as that case: rename those of other images"
            )
        raise file_error(dataset.root, finding, remedy)
    return cases
