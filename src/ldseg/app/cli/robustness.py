"""ldseg robustness: measure the Dice of a model on corrupted images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.app.cli.options import (
    add_data_section,
    add_decision,
    add_harmonize,
    add_json,
    add_model,
    admit_model,
    data_options,
    given_section,
)
from ldseg.app.cli.output import group_notes, note, print_json, print_line, print_table, progress
from ldseg.app.cli.sampling_options import report_ignored_options
from ldseg.app.cli.unfinished import report_unfinished

if TYPE_CHECKING:
    from ldseg.evaluation.robustness import Robustness

SUMMARY = "Measure how the Dice of a model or baseline falls as images get worse."
USAGE = "DATA -m RUN -o OUT [options]"
EXAMPLE = (
    "ldseg robustness Dataset004_Hippocampus -m runs/hippocampus -o out --corruptions gaussian_noise,blur"
)


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument("dataset", type=Path, metavar="DATA", help="images and masks, as for training")
    add_model(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder for the results; a sweep that is there already goes on",
    )
    parser.add_argument(
        "--corruptions",
        help="any of gaussian_noise,rician_noise,speckle,blur,contrast,bias_field,low_resolution, separated "
        "by commas; all by default",
    )
    parser.add_argument("--steps", type=int | None, help="diffusion steps; the model's own by default")
    parser.add_argument("--samples", type=int | None, help="posterior samples; the model's own by default")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the corruptions and of the model's noise; 0 by default"
    )
    add_decision(parser)
    add_harmonize(parser)
    parser.add_argument("--device", help="e.g. cpu, cuda, mps; the best one here by default")
    add_json(parser)
    add_data_section(parser)


def run(arguments: Any) -> int:
    """Run the sweep, write its results and print the table."""
    from ldseg.app.cli.destination import check_output_folder
    from ldseg.data.dataset import open_dataset
    from ldseg.evaluation.corruptions import CORRUPTIONS
    from ldseg.evaluation.robustness import RobustnessOptions, count_trained, start_sweep, sweep
    from ldseg.evaluation.robustness_files import resume_sweep, write_robustness, write_table_and_plot
    from ldseg.inference.ensemble_files import load_models
    from ldseg.utils.system import keep_freed_memory
    from ldseg.zoo.catalogue import find_model

    check_output_folder(arguments.output)
    keep_freed_memory()
    arguments.model = find_model(arguments.model)
    admit_model(arguments, arguments.model)
    names = tuple(CORRUPTIONS)
    if arguments.corruptions is not None:
        names = tuple(name.strip() for name in arguments.corruptions.split(","))
    options = RobustnessOptions(
        names,
        arguments.steps,
        arguments.samples,
        arguments.seed,
        harmonize=arguments.harmonize,
        decision=arguments.decision,
    )
    predictor = load_models(arguments.model, arguments.device)
    dataset = open_dataset(arguments.dataset, _reading(arguments))
    out: Path = arguments.output
    begun = resume_sweep(out, start_sweep(arguments.model, predictor, dataset, options))
    if begun.points:
        note(f"{out}: {len(begun.points)} strengths are measured already")
    report_unfinished([arguments.model])
    cases = begun.setup.cases
    if seen := count_trained(arguments.model, predictor, cases):
        note(f"{seen} of the {len(cases)} cases trained the model: on new images its Dice is lower")
    report_ignored_options(predictor, predictor.sampling(arguments.steps, arguments.samples), arguments)
    notes: dict[str, tuple[str, ...]] = {}
    with progress("measuring") as bar:
        found = sweep(
            predictor,
            dataset,
            begun,
            names,
            lambda state: write_robustness(out, state),
            bar.show,
            notes.__setitem__,
        )
    for line in group_notes(notes):
        note(line)
    write_table_and_plot(out, found)
    if arguments.json:
        print_json(summary(found))
    else:
        _print(found, out)
    return 0


def summary(found: Robustness) -> dict[str, Any]:
    """Return the sweep without its cases: mean Dice by strength, and the Dice lost at the strongest."""
    from ldseg.evaluation.corruptions import CORRUPTIONS

    curves = {
        name: {
            "strengths": CORRUPTIONS[name].strengths,
            "meaning": CORRUPTIONS[name].meaning,
            "mean_dice": [point.mean_dice for point in points],
            "mean_dice_interval": [point.mean_dice_interval for point in points],
            "dice_lost": points[0].mean_dice - points[-1].mean_dice,
        }
        for name, points in found.curves().items()
    }
    return {"setup": found.setup, "curves": curves}


def _reading(arguments: Any) -> Any:
    """Return the given data options, else those that the model was trained with."""
    from ldseg.runs.files import DATA_FILE
    from ldseg.runs.run_setup import read_data_options

    stored = arguments.model / DATA_FILE
    asked = given_section(arguments, "data") or arguments.labels_above_zero
    return data_options(arguments) if asked or not stored.is_file() else read_data_options(stored)


def _print(found: Robustness, out: Path) -> None:
    setup = found.setup
    which = "the test part" if setup.part == "test" else "all with masks"
    print_line(f"mean Dice of {len(setup.cases)} cases ({which}) of {setup.data}")
    rows: list[tuple[str, ...]] = []
    for name, (clean, *corrupted) in found.curves().items():
        cells = [f"{point.mean_dice:.4f} ({point.strength:g})" for point in corrupted]
        lost = clean.mean_dice - corrupted[-1].mean_dice
        rows.append((name, f"{clean.mean_dice:.4f}", *cells, f"{lost:.4f}"))
    print_table(("corruption: Dice (strength)", "clean", "1", "2", "3", "4", "lost"), rows)
    note(f"written to {out}: robustness.json, robustness.csv, robustness.png")
