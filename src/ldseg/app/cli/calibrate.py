"""ldseg calibrate: fit temperature and interval width of a trained model on its validation cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.app.cli.calibrate_ensemble import calibrate_ensemble, print_fitted
from ldseg.app.cli.options import MODEL_HELP, add_allow_code, add_json, admit_model
from ldseg.app.cli.output import note, print_json, print_line, print_table, progress
from ldseg.app.cli.sampling_options import report_ignored_options
from ldseg.app.cli.unfinished import report_unfinished
from ldseg.runs.files import OUT_OF_DISTRIBUTION_FILE

if TYPE_CHECKING:
    from ldseg.evaluation.calibration_report import CalibrationReport

SUMMARY = "Fit a temperature and the width of volume intervals on validation cases."
USAGE = "RUN... [options]"
EXAMPLE = "ldseg calibrate runs/hippocampus"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "run_folder",
        nargs="+",
        type=Path,
        metavar="RUN",
        help=f"{MODEL_HELP}; a run with folds, or several models: the weights and calibration of an ensemble",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="MODEL",
        help="new folder for a calibrated copy of the model; the model itself is calibrated by default",
    )
    parser.add_argument("--data", type=Path | None, help="images and masks; where the run's were by default")
    parser.add_argument(
        "--samples", type=int | None, help="posterior samples of a case; the model's own number by default"
    )
    parser.add_argument("--steps", type=int | None, help="diffusion steps; the model's own by default")
    parser.add_argument("--seed", type=int, default=0, help="of noise and of voxels drawn; 0 by default")
    parser.add_argument("--device", help="e.g. cpu, cuda, mps; the best one here by default")
    add_allow_code(parser)
    add_json(parser)


def run(arguments: Any) -> int:
    """Fit on the validation cases and store the result beside the weights, or in a copy of the model."""
    from ldseg.app.cli.destination import check_output_folder
    from ldseg.data.formats.dicom.segments import SEGMENTS_FILE
    from ldseg.errors import InputError
    from ldseg.export.atomic_directory import atomic_directory
    from ldseg.inference.ensemble_files import member_folders
    from ldseg.runs.saved_model import copy_model
    from ldseg.utils.system import keep_freed_memory
    from ldseg.zoo.catalogue import find_model, is_shipped

    if arguments.seed < 0:
        raise InputError(f"--seed is {arguments.seed}; give 0 or more")
    keep_freed_memory()
    sources = [find_model(one) for one in arguments.run_folder]
    members = [member for source in sources for member in member_folders(source)]
    report_unfinished(sources)
    for one in (*sources, *members):
        admit_model(arguments, one)
    if members != sources or len(members) > 1:
        before = calibrate_ensemble(arguments, sources)
        if before is not None:
            _print(before)
        return 0
    (source,) = sources
    if arguments.output is None:
        if is_shipped(source):
            finding = f"{arguments.run_folder[0]}: came with ldseg and stays as it is"
            remedy = "name a folder for a calibrated copy with -o, and images and masks with --data"
            raise InputError(f"{finding}; {remedy}")
        _calibrate(arguments, source, source, source)
        return 0
    check_output_folder(arguments.output)
    with atomic_directory(arguments.output) as staged:
        copy_model(source, staged, (OUT_OF_DISTRIBUTION_FILE, SEGMENTS_FILE))
        _calibrate(arguments, source, staged, arguments.output)
    return 0


def _calibrate(arguments: Any, source: Path, folder: Path, shown: Path) -> None:
    """Calibrate the model in `source`, store the result in `folder` and print it.

    Messages call the folder `shown`.
    """
    from ldseg.app.report.report_data import calibration_cases, cases_outside_test, open_run_data
    from ldseg.evaluation.calibration_fit import calibrate
    from ldseg.evaluation.out_of_distribution_fit import fit_and_store_detector
    from ldseg.inference.predictor import Predictor
    from ldseg.runs.files import CALIBRATION_FILE
    from ldseg.utils.serialization import to_json

    predictor = Predictor.load(source, arguments.device, calibrated=False)
    own = predictor.settings.posterior.samples
    samples = own if arguments.samples is None else arguments.samples
    sampling = predictor.sampling(arguments.steps, samples)
    dataset = open_run_data(source, arguments.data, predictor.plan)
    cases, origin = calibration_cases(source, dataset, predictor.settings)
    if origin == "unknown":
        note(
            f"{source.name} has no splits.json: all {len(cases)} cases are used; "
            "the result is right only if the model was not trained on any of them"
        )
    report_ignored_options(predictor, sampling, arguments)
    with progress("predicting") as bar:
        fitted, before = calibrate(
            folder, predictor, dataset, cases, sampling.samples, sampling.steps, arguments.seed, bar.show
        )
    if origin == "validation":
        with progress("encoding") as bar:
            fit_and_store_detector(folder, predictor, dataset, cases_outside_test(source, dataset), bar.show)
    if arguments.json:
        found = {"fitted": to_json(fitted), "before": to_json(before)}
        print_json({**found, "cases": len(cases), "folder": str(shown)})
        return
    _print(before)
    kind = "validation " if origin == "validation" else ""
    print_fitted(fitted, f"fitted on {len(cases)} {kind}cases")
    if fitted.coherence is not None:
        cells, warmth = fitted.coherence.length, fitted.coherence.temperature
        print_line(f"samples vary together over {cells:g} latent cells, at a temperature of {warmth:.3f}")
    print_line(
        f"labels of several samples are decided by {fitted.decision} from now on; their Dice loss with the "
        f"true ones is {fitted.dice_loss_factor:.3f} times that with the samples"
    )
    path = shown / CALIBRATION_FILE
    note(f"stored in {path}: ldseg predict uses it from now on; remove the file to undo it")


def _print(before: CalibrationReport) -> None:
    rows = [
        (name, f"{one.ece:.4f}", f"{one.nll:.4f}", f"{one.brier:.4f}")
        for name, one in (("all voxels", before.everywhere), ("near the structures", before.near))
        if one is not None
    ]
    print_table(("before", "calibration error", "log-likelihood loss", "Brier"), rows)
    volumes = [(name, one.cases, f"{one.covered:.0%}") for name, one in before.intervals.items()]
    if volumes:
        print_table(("before", "true volumes", "inside the 90 % interval"), volumes)
