"""ldseg calibrate: fit what makes a trained model's confidence honest, on its validation cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.commands.options import add_json
from ldseg.commands.output import note, print_json, print_line, print_table, progress

if TYPE_CHECKING:
    from ldseg.evaluation.calibration_report import CalibrationReport

SUMMARY = "Fit a temperature and the width of volume intervals on validation cases."
USAGE = "RUN [options]"
EXAMPLE = "ldseg calibrate runs/hippocampus"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder that ldseg train wrote")
    parser.add_argument("--data", type=Path | None, help="images and masks; where the run's were by default")
    parser.add_argument(
        "--samples", type=int | None, help="posterior samples of a case; the model's own number by default"
    )
    parser.add_argument("--steps", type=int | None, help="diffusion steps; the model's own by default")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and of the voxels drawn")
    parser.add_argument("--device", help="e.g. cpu, cuda, mps; the best one here by default")
    add_json(parser)


def run(arguments: Any) -> int:
    """Fit on the validation fold and store the result beside the weights."""
    from ldseg.allocator import keep_freed_memory
    from ldseg.errors import InputError
    from ldseg.evaluation.calibration_fit import calibrate
    from ldseg.evaluation.out_of_distribution_fit import learn_training_images
    from ldseg.inference.predictor import Predictor
    from ldseg.inference.recalibration import FILE
    from ldseg.records import to_json
    from ldseg.reporting.material import cases_to_learn, choose_cases, open_run_data

    keep_freed_memory()
    folder: Path = arguments.run_folder
    predictor = Predictor.load(folder, arguments.device, recalibrated=False)
    own = predictor.settings.posterior.samples
    samples = own if arguments.samples is None else arguments.samples
    sampling = predictor.sampling(arguments.steps, samples)
    dataset = open_run_data(folder, arguments.data, predictor.plan)
    part = choose_cases(folder, dataset, predictor.settings, "validation", None, None)
    if part.seen:
        raise InputError(
            f"{folder}: was trained on all cases, none is left to calibrate on; train with --fold 0"
        )
    with progress("predicting") as bar:
        fitted, before = calibrate(
            folder, predictor, dataset, part.cases, sampling.samples, sampling.steps, arguments.seed, bar.show
        )
    with progress("encoding") as bar:
        learn_training_images(folder, predictor, dataset, cases_to_learn(folder, dataset), bar.show)
    if arguments.json:
        print_json({"fitted": to_json(fitted), "before": to_json(before), "cases": len(part.cases)})
        return 0
    _print(before)
    print_line(
        f"temperature {fitted.temperature:.3f}, intervals widened by {fitted.widening:+.3f} of the volume; "
        f"fitted on {len(part.cases)} validation cases"
    )
    note(f"stored in {folder / FILE}: ldseg predict uses it from now on; remove the file to undo it")
    return 0


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
