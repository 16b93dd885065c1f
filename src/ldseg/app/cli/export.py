"""ldseg export: write a trained model for other programs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.app.cli.options import MODEL_HELP, add_allow_code, add_json, add_sampler, admit_model
from ldseg.app.cli.output import note, print_json, print_line, progress
from ldseg.app.cli.sampling_options import ignored_options, refuse_contradictions
from ldseg.app.cli.unfinished import report_unfinished

if TYPE_CHECKING:
    from ldseg.inference.base_predictor import BasePredictor
    from ldseg.inference.predictor import Predictor

SUMMARY = "Write a trained model for other programs: ONNX, or a MONAI bundle."
USAGE = "RUN --format FORMAT -o OUT [options]"
EXAMPLE = "ldseg export runs/hippocampus --format onnx -o hippocampus-onnx --steps 2 --samples 4"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help=MODEL_HELP)
    parser.add_argument(
        "--format",
        choices=("onnx", "monai-bundle"),
        required=True,
        help="onnx: a graph with a contract of how to feed it; monai-bundle: a folder for monai.bundle",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="folder to make for the result"
    )
    parser.add_argument("--steps", type=int | None, help="diffusion steps; the model's own by default")
    parser.add_argument(
        "--samples", type=int | None, help="posterior samples of one call; the model's own by default"
    )
    add_sampler(parser)
    add_allow_code(parser)
    add_json(parser)


def run(arguments: Any) -> int:
    """Export the model and print what was written."""
    from ldseg.app.cli.destination import check_output_folder
    from ldseg.errors import file_error
    from ldseg.inference.ensemble import members_of
    from ldseg.inference.ensemble_files import load_models, member_folders
    from ldseg.zoo.catalogue import find_model

    check_output_folder(arguments.output)
    refuse_contradictions(arguments)
    arguments.run = find_model(arguments.run)
    admit_model(arguments, arguments.run)
    report_unfinished([arguments.run])
    together = member_folders(arguments.run) != [arguments.run]
    if together and arguments.format != "onnx":
        remedy = "export it with --format onnx, or each member by itself"
        raise file_error(arguments.run, "is an ensemble, and a bundle holds one model", remedy)
    predictor = load_models(arguments.run, "cpu")
    members = members_of(predictor)
    for one in members:
        sampling = one.sampling(arguments.steps, arguments.samples, arguments.sampler, arguments.tta)
        for sentence in ignored_options(one, sampling, arguments):
            note(f"{one.identity.name}: {sentence}" if together else sentence)
    if together:
        return _export_ensemble(arguments, predictor)
    if arguments.format == "onnx":
        return _export_onnx(arguments, members[0])
    return _export_bundle(arguments, members[0])


def _export_arguments(arguments: Any) -> tuple[Any, ...]:
    """Return the arguments that both export formats take."""
    return (
        arguments.run,
        arguments.output,
        arguments.steps,
        arguments.samples,
        arguments.sampler,
        arguments.tta,
    )


def _export_onnx(arguments: Any, model: Predictor) -> int:
    from ldseg.export.onnx import export_onnx, saved_model_of

    with progress("exporting") as bar:
        made = export_onnx(*_export_arguments(arguments), on_stage=bar.show, loaded=saved_model_of(model))
    contract = made.spec
    if arguments.json:
        print_json(
            {
                "format": "onnx",
                "folder": str(made.folder),
                "megabytes": round(made.megabytes, 3),
                "difference": contract.difference,
                "sampling": contract.sampling,
            }
        )
        return 0
    sampling = contract.sampling
    steps = "" if sampling.sampler is None else f"{sampling.steps} steps of {sampling.sampler}, "
    how = f"{steps}{sampling.samples} samples in one call, "
    print_line(
        f"{made.folder / contract.graph}: {made.megabytes:.1f} MB, {how if contract.stochastic else ''}"
        f"probabilities within {contract.difference:.1g} of torch. contract.json says how to feed it; "
        f"ldseg predict IMAGE -m {shlex.quote(str(made.folder))} --runtime onnx -o PREDICTIONS does so"
    )
    return 0


def _export_ensemble(arguments: Any, ensemble: BasePredictor) -> int:
    """Export one graph a member."""
    from ldseg.export.ensemble import export_onnx_ensemble

    with progress("exporting") as bar:
        made = export_onnx_ensemble(*_export_arguments(arguments), on_stage=bar.show, loaded=ensemble)
    if arguments.json:
        members = [{"folder": str(one.folder), "megabytes": round(one.megabytes, 3)} for one in made]
        print_json({"format": "onnx", "folder": str(arguments.output), "members": members})
        return 0
    folder = shlex.quote(str(arguments.output))
    print_line(
        f"{arguments.output}: {len(made)} graphs, {sum(one.megabytes for one in made):.1f} MB; "
        f"ldseg predict IMAGE -m {folder} --runtime onnx -o PREDICTIONS mixes them"
    )
    return 0


def _export_bundle(arguments: Any, model: Predictor) -> int:
    from ldseg.export.bundle import export_bundle
    from ldseg.export.onnx import saved_model_of

    folder = export_bundle(*_export_arguments(arguments), loaded=saved_model_of(model))
    if arguments.json:
        print_json({"format": "monai-bundle", "folder": str(folder)})
        return 0
    print_line(
        f"{folder}: a MONAI bundle; run it with python -m monai.bundle run --config_file "
        f"{shlex.quote(str(folder / 'configs' / 'inference.json'))} --bundle_root {shlex.quote(str(folder))} "
        "--dataset_dir IMAGES --output_dir PREDICTIONS"
    )
    return 0
