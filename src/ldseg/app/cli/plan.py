"""ldseg plan: analyze the data and write plan.json, to read or edit before training."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ldseg.app.cli.options import add_data_section, add_json, add_section, data_options, given_section
from ldseg.app.cli.output import note, print_json, print_line
from ldseg.utils.serialization import from_json

SUMMARY = "Analyze the data and write the training plan, which may be edited."
USAGE = "DATA -o RUN [options]"
EXAMPLE = "ldseg plan Dataset004_Hippocampus -o runs/hippocampus"
PLANNING_ALIASES = {
    "planning.cpu_memory_gb": "--cpu-memory",
    "planning.gpu_memory_gb": "--gpu-memory",
}


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    add_run_arguments(parser)
    parser.add_argument("--preset", help="the preset to train: default or paper (images scaled to 0..1)")
    add_json(parser)
    add_data_section(parser)


def add_run_arguments(parser: Any) -> None:
    """Add the arguments that `plan` and `train` share: data, folder, splits and limits of the plan."""
    from ldseg.planning.settings import PlanSettings

    parser.add_argument(
        "dataset", type=Path, metavar="DATA", help="folder, or CSV/JSON list, of images and masks"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--splits",
        type=Path,
        metavar="FILE",
        help="splits.json of another run, or splits_final.json of nnU-Net",
    )
    parser.add_argument(
        "--test-fraction", type=float, default=0.0, help="share of the subjects to keep for testing, 0 to 1"
    )
    parser.add_argument("--split-seed", type=int, default=0, help="seed of the splits")
    add_section(parser, PlanSettings, "planning", PLANNING_ALIASES)


def run(arguments: Any) -> int:
    """Write the plan and print a summary."""
    from ldseg.api import plan_run
    from ldseg.app.cli.destination import check_output_folder
    from ldseg.data.units import spacing_words
    from ldseg.runs.run_setup import intensity_remarks

    check_output_folder(arguments.output)
    plan = plan_run(
        arguments.dataset,
        arguments.output,
        data_options(arguments),
        plan_settings(arguments),
        split_options(arguments),
        note,
        arguments.preset,
    )
    if arguments.json:
        print_json(plan)
        return 0
    levels = plan.latent_levels
    print_line(f"images      {plan.axes}, channels {', '.join(c.name for c in plan.channels)}")
    print_line(f"classes     {', '.join(plan.classes)}")
    print_line(f"spacing     {spacing_words(plan.axes, plan.spacing, plan.physical_spacing is not False)}")
    print_line(f"patch       {' x '.join(map(str, plan.patch))}{', in tiles' if plan.tiled else ''}")
    print_line(f"latent grid 1/{' x 1/'.join(map(str, plan.latent_factor))}, {plan.latent_channels} channels")
    print_line(f"widths      {', '.join(map(str, plan.widths))} (the first {levels} above the latent grid)")
    print_line(f"batch       {plan.batch}, about {plan.training_memory_gb:.1f} GB in training")
    for remark in intensity_remarks(arguments.output):
        print_line(f"warning: {remark}")
    words = ["ldseg", "train", str(arguments.dataset), "-o", str(arguments.output)]
    train = shlex.join(words if arguments.preset is None else [*words, "--preset", arguments.preset])
    note(f"written to {arguments.output / 'plan.json'}; edit it, or train with it: {train}")
    return 0


def plan_settings(arguments: Any) -> Any:
    """Return the given `PlanSettings`. Raises InputError for an invalid value."""
    from ldseg.planning.settings import PlanSettings

    return from_json(PlanSettings, given_section(arguments, "planning"), "", "planning")


def split_options(arguments: Any) -> Any:
    """Return the given `SplitOptions`."""
    from ldseg.runs.run_setup import SplitOptions

    return SplitOptions(arguments.splits, arguments.test_fraction, arguments.split_seed)
