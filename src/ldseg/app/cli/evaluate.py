"""ldseg evaluate: score predictions against masks, or a training on the cases that it had not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.app.cli.options import (
    add_allow_code,
    add_data_section,
    add_decision,
    add_json,
    admit_model,
    data_options,
)
from ldseg.app.cli.output import note, print_json, print_line, print_table, progress

if TYPE_CHECKING:
    from ldseg.evaluation.evaluate_folders import EvaluationOptions
    from ldseg.evaluation.scores import Scores

SUMMARY = "Score predictions against reference masks, or a training by cross-validation."
USAGE = "PREDICTIONS LABELS -o scores.json [options]\n       ldseg evaluate RUN [options]"
EXAMPLE = "ldseg evaluate out Dataset004_Hippocampus -o scores.json"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "predictions",
        type=Path,
        metavar="PREDICTIONS",
        help="folder of predicted label files; or RUN, the folder of a training, whose models are scored on "
        "the cases that they had not seen",
    )
    parser.add_argument(
        "labels",
        nargs="?",
        type=Path,
        metavar="LABELS",
        help="folder of masks, or a data set; with RUN its data, if they have moved",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="SCORES",
        help="scores.json; a .csv goes beside it; RUN/scores.json by default",
    )
    parser.add_argument(
        "--tolerance-mm",
        type=float | None,
        help="of NSD (share of border voxels) and surface Dice (share of the surface's area), in mm; "
        "1 by default",
    )
    parser.add_argument(
        "--tolerance-px",
        type=float | None,
        help="the same in voxels or pixels, for masks without a physical spacing; 1 by default",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="score only the cases that have a prediction, or the folds that are trained; predictions of "
        "--part test need no --partial",
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="score the other cases when one is at fault"
    )
    parser.add_argument("--device", help="of the models of RUN, e.g. cpu, cuda; the best one by default")
    add_allow_code(parser)
    add_decision(parser)
    add_json(parser)
    add_data_section(parser)


def run(arguments: Any) -> int:
    """Score the predictions and return 0. Raises PartialFailure if some cases failed with --keep-going."""
    from ldseg.errors import PartialFailure
    from ldseg.evaluation.evaluate_folders import EvaluationOptions
    from ldseg.evaluation.scores import check_scores_file, to_json, write_scores

    output = _output(arguments)
    check_scores_file(output)
    options = EvaluationOptions(
        arguments.tolerance_mm,
        arguments.tolerance_px,
        arguments.partial,
        arguments.keep_going,
        data_options(arguments),
    )
    scores = _scores(arguments, options)
    write_scores(output, scores)
    if arguments.json:
        print_json(to_json(scores))
    else:
        _print(scores, to_json(scores))
        note(f"written to {output} and {output.with_suffix('.csv')}")
    if scores.failed:
        raise PartialFailure(f"{len(scores.failed)} cases have no score: {', '.join(scores.failed)}")
    return 0


def _output(arguments: Any) -> Path:
    """Return the file of the scores. Raises InputError if none is given where there is no default."""
    from ldseg.errors import InputError
    from ldseg.runs.folds import is_run

    if arguments.output is not None:
        return arguments.output
    if not is_run(arguments.predictions):
        _refuse_without_masks(arguments)
        raise InputError("-o is missing: name the file of the scores, e.g. -o scores.json")
    return arguments.predictions / "scores.json"


def _refuse_without_masks(arguments: Any) -> None:
    """Raise InputError where there is neither a training nor a folder of masks."""
    from ldseg.errors import file_error

    if arguments.labels is None:
        finding = "holds no training" if arguments.predictions.exists() else "is not there"
        raise file_error(arguments.predictions, finding, "give a training, or predictions and their masks")


def _scores(arguments: Any, options: EvaluationOptions) -> Scores:
    """Return the scores of a folder of predictions, or of the models of a run."""
    from ldseg.data.cases import DataOptions
    from ldseg.errors import InputError
    from ldseg.evaluation.evaluate_folders import evaluate_folders
    from ldseg.runs.folds import is_run

    if not is_run(arguments.predictions):
        _refuse_without_masks(arguments)
        for name in ("device", "decision"):
            if getattr(arguments, name) is not None:
                raise InputError(f"--{name} is for the folder of a training; leave it out")
        return evaluate_folders(arguments.predictions, arguments.labels, options, on_remark=note)
    if options.data != DataOptions():
        raise InputError(
            f"{arguments.predictions}: a training's data are read as it read them; leave out --data.*"
        )
    admit_model(arguments, arguments.predictions)
    from ldseg.evaluation.cross_validation import cross_validate  # slow, and scoring of files is without it

    with progress("predicting") as bar:
        return cross_validate(
            arguments.predictions,
            arguments.labels,
            options,
            arguments.device,
            bar.show,
            bar.report,
            arguments.decision,
        )


def _print(scores: Scores, summary: dict[str, Any]) -> None:
    from ldseg.metrics.intervals import format_interval

    rows = [
        (
            f"{name} {metric}",
            f"{mean:.4f}",
            f"{summary['median'][name][metric]:.4f}",
            format_interval(summary["interval"][name][metric]),
        )
        for name, metrics in summary["mean"].items()
        for metric, mean in metrics.items()
    ]
    print_table(("structure and metric", "mean", "median", "95 % interval of the mean"), rows)
    print_line(
        f"within {scores.tolerance:g} {scores.unit}: nsd is the share of border voxels, "
        "surface_dice that of the area"
    )
    print_line(
        f"mean Dice {scores.mean_dice:.4f} (95 % interval {format_interval(scores.mean_dice_interval)}) "
        f"over {len(scores.cases)} cases{'' if scores.part is None else f' of the {scores.part} part'}"
    )
    _print_cycles(scores)
    for problem in scores.failed.values():
        print_line(f"failed: {problem}")


def _print_cycles(scores: Scores) -> None:
    """Print the scores of 2D+time data, one row per cine and structure."""
    columns = (
        "cine and structure",
        "Dice of neighbouring frames",
        "the reference's",
        "ejection fraction",
        "on labelled frames",
        "the reference's",
    )
    rows = [
        (
            f"{cine} {name}",
            one.neighbour_dice,
            one.reference_neighbour_dice,
            *one.ejection_fractions().values(),
        )
        for cine, by_class in scores.subject_or_case_cine().items()
        for name, one in by_class.items()
    ]
    if rows:
        shown = [(words, *("-" if v is None else f"{v:.3f}" for v in values)) for words, *values in rows]
        print_table(columns, shown)
