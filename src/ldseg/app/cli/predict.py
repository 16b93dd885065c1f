"""ldseg predict: segment images with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ldseg.app.cli.options import (
    add_decision,
    add_harmonize,
    add_json,
    add_models,
    add_sampler,
    admit_models,
    models_of,
    names_of,
)
from ldseg.app.cli.output import Progress, group_notes, note, print_json, print_line, print_table, progress
from ldseg.app.cli.sampling_options import refuse_contradictions, report_ignored_options
from ldseg.app.cli.unfinished import report_unfinished
from ldseg.runs.files import SPLITS_FILE

if TYPE_CHECKING:
    from ldseg.data.cases import Case
    from ldseg.data.formats.dicom.segments import SegmentCodes
    from ldseg.inference.base_predictor import BasePredictor
    from ldseg.inference.predict_cases import PredictOptions, Summary
    from ldseg.utils.distributed import DistributedContext

SUMMARY = "Segment images with a trained model."
USAGE = "INPUT... -m MODEL [-o OUT] [options]"
EXAMPLE = "ldseg predict scan.nii.gz -m runs/hippocampus -o out --samples 8 --save labels,uncertainty"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT", help="image, folder of images, or data set"
    )
    add_models(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("predictions"),
        metavar="OUT",
        help="folder for the results; of one image also the file of its labels, e.g. labels.nii.gz",
    )
    parser.add_argument("--steps", type=int | None, help="diffusion steps; the model's own by default")
    parser.add_argument("--samples", type=int | None, help="posterior samples; the model's own by default")
    add_sampler(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the noise; 0 by default")
    add_decision(parser)
    add_harmonize(parser)
    parser.add_argument(
        "--save",
        default="labels",
        help="any of labels,probabilities,uncertainty,samples, separated by commas",
    )
    parser.add_argument(
        "--format",
        help="of the results: an ending, e.g. .nii.gz, or an output writer, package.module:NAME; by default "
        "that of each input",
    )
    parser.add_argument(
        "--segment-codes",
        type=Path,
        metavar="FILE",
        help="codes of the classes in DICOM segmentations; segments.json of the model by default",
    )
    parser.add_argument(
        "--part",
        choices=("train", "validation", "test"),
        help="only these cases of the training's splits.json, when INPUT is its data set",
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="predict the other cases when one is at fault"
    )
    parser.add_argument("--device", help="e.g. cpu, cuda, mps; the best one here by default")
    parser.add_argument(
        "--runtime",
        choices=("torch", "onnx"),
        default="torch",
        help="onnx: -m is a folder that ldseg export wrote, and onnxruntime computes",
    )
    parser.add_argument(
        "--max-memory",
        type=float,
        metavar="GB",
        help="stay below so much memory: fewer samples at once, then smaller tiles",
    )
    add_json(parser)


def run(arguments: Any) -> int:
    """Predict all inputs and return 0. Raises PartialFailure if some failed with --keep-going."""
    from ldseg.utils.system import import_modules, keep_freed_memory

    import_modules("ldseg.inference.predict_cases", "ldseg.inference.ensemble_files")
    from ldseg.utils.distributed import distributed_context

    if arguments.max_memory is None:
        keep_freed_memory()
    with distributed_context(arguments.device) as context:
        return _predict(arguments, context)


def _predict(arguments: Any, context: DistributedContext) -> int:
    from ldseg.app.cli.destination import find_destination, image_ending
    from ldseg.data.inputs import find_inputs
    from ldseg.errors import InputError, PartialFailure, RemoteRankError
    from ldseg.inference.predict_cases import CaseError, predict_cases
    from ldseg.inference.provenance_journal import merge_journal
    from ldseg.zoo.catalogue import find_model

    refuse_contradictions(arguments)
    _check_memory(arguments.max_memory, arguments.runtime)
    options = _options(arguments)
    device = context.device_name(arguments.device)
    remarks: list[str] = []

    def look() -> tuple[BasePredictor, list[Case], PredictOptions, Path]:
        model = find_model(models_of(arguments)[0])
        admit_models(arguments)
        predictor = _load(models_of(arguments), device, arguments.runtime)
        plan = predictor.plan
        channels = len(plan.channels)
        cases = find_inputs(
            arguments.inputs, channels, plan.axes, plan.stored_in_channel_files, remarks.append
        )
        if arguments.part is not None:
            if predictor.extra_maps and arguments.part != "test":
                raise InputError("--part: members of an ensemble have parts of their own; choose test")
            cases = _part(cases, model, arguments.part, predictor.settings.training.fold)
        place = find_destination(arguments.output, len(cases), options.save, options.format)
        form = options.format if place.file is None else image_ending(place.path)
        codes = _codes(arguments.segment_codes, model, predictor)
        _refuse_unused_codes(arguments.segment_codes, cases, form)
        return predictor, cases, replace(options, codes=codes, format=form, file=place.file), place.folder

    predictor, cases, options, folder = context.run_on_all_ranks(look)
    if context.is_rank_zero:
        report_unfinished(models_of(arguments))
        deciding = predictor.deciding_by(arguments.decision)
        sampling = deciding.sampling(arguments.steps, arguments.samples, arguments.sampler, arguments.tta)
        report_ignored_options(predictor, sampling, arguments)
        for remark in remarks:
            note(remark)
    with progress("predicting", shown=context.is_rank_zero) as bar:
        reporter = ProgressReporter(bar, len(context.shard(cases)))
        try:
            summary = predict_cases(
                predictor, cases, folder, options, arguments.keep_going, reporter, context
            )
        except CaseError as problem:
            if len(cases) == 1:
                raise
            raise InputError(f"{problem}, or add --keep-going to segment the other images") from problem
    if context.is_rank_zero:
        merge_journal(folder, remarks)
        _tell(arguments, summary, remarks, len(cases), folder)
    if summary.failed:
        problem = f"{len(summary.failed)} of {len(cases)} images failed: {', '.join(summary.failed)}"
        kind = PartialFailure if len(summary.failed) < len(cases) else InputError
        raise kind(problem) if context.is_rank_zero else RemoteRankError(problem)
    return 0


def _options(arguments: Any) -> PredictOptions:
    """Return how to predict, as the arguments say."""
    from ldseg.inference.predict_cases import PredictOptions

    return PredictOptions(
        arguments.steps,
        arguments.samples,
        arguments.sampler,
        arguments.tta,
        arguments.seed,
        names_of(arguments.save),
        arguments.max_memory,
        _format(arguments.format, arguments.allow_code),
        arguments.harmonize,
        decision=arguments.decision,
        part=arguments.part,
    )


def _format(given: str | None, allow_code: bool) -> str | None:
    """Return the name of the output writer that `--format` asks for, and import it if it is not of ldseg and
    that is allowed. Raises InputError if it is not allowed, or not there."""
    from ldseg.utils.registry import admit

    admit(given, allow_code, "--format")
    return given if given is None or ":" in given else f".{given.lower().lstrip('.')}"


def _check_memory(limit_gb: float | None, runtime: str) -> None:
    """Raise InputError for a memory limit that cannot be applied."""
    from ldseg.errors import InputError

    if limit_gb is not None and not limit_gb > 0:
        raise InputError(f"--max-memory is {limit_gb:g}; give GB above 0")
    if limit_gb is not None and runtime == "onnx":
        raise InputError("--max-memory needs a model as trained; leave out --runtime onnx, or the limit")


def _tell(arguments: Any, summary: Summary, remarks: list[str], cases: int, folder: Path) -> None:
    from ldseg.inference.out_of_distribution import describe_ways
    from ldseg.inference.provenance_journal import read_records

    if arguments.json:
        records = read_records(folder).cases
        print_json(
            {
                "done": {name: [str(path) for path in paths] for name, paths in summary.done.items()},
                "failed": summary.failed,
                "out_of_distribution": summary.out_of_distribution,
                "notes": summary.notes,
                "skipped": remarks,
                "removed": summary.removed,
                "cases": {one.case: one for one in records.values() if one.case in summary.done},
            }
        )
        return
    print_line(f"{len(summary.done)} of {cases} images are segmented, in {arguments.output}")
    if len(summary.done) == 1:
        _print_sizes(*summary.done.values())
    for name, ways in summary.out_of_distribution.items():
        print_line(f"{name}: {describe_ways(ways)}")
    for line in group_notes(summary.notes):
        print_line(line)
    removed = sum(map(len, summary.removed.values()))
    if removed:
        print_line(f"removed {removed} files of earlier predictions that did not belong to these results")
    for name, problem in summary.failed.items():
        stays = "; the files of its earlier prediction are still there" if name in summary.kept else ""
        print_line(f"failed: {problem}{stays}")


def _print_sizes(files: Sequence[Path]) -> None:
    """Print each structure's size with its interval, and the Dice to expect, of the only case; nothing where
    its files have no summary."""
    from ldseg.data.units import pretty
    from ldseg.utils.serialization import read_json

    path = next((path for path in files if path.name.endswith("_summary.json")), None)
    if path is None:
        return
    found = read_json(path, "predict the image again")
    rows: list[tuple[str, str, str]] = []
    for name, size in found["volumes"].items():
        ends = (size[key] for key in ("mean", "low", "high"))
        mean, low, high = (f"{v:,.0f}" if v >= 100 else f"{v:.3g}" for v in ends)
        rows.append((name, mean, "" if low == high else f"{low} to {high}"))
    print_table(("structure", f"size ({pretty(found['volume_unit'])})", "90 % interval"), rows)
    print_line(f"Dice to expect: {found['confidence']:.2f}; these figures and more are in {path}")


def _load(models: list[Path], device: str | None, runtime: str) -> BasePredictor:
    """Return the model, or the ensemble of several."""
    from ldseg.inference.ensemble_files import load_members, load_models

    if runtime == "onnx":
        from ldseg.inference.backends.onnx_backend import load_onnx_predictor

        return load_members(models, lambda folder: load_onnx_predictor(folder, device))
    return load_models(models, device)


def _refuse_unused_codes(given: Path | None, cases: list[Case], form: str | None) -> None:
    """Raise InputError if segment codes are given and no output is a DICOM segmentation."""
    from ldseg.data.formats import dicom, format_of
    from ldseg.errors import InputError

    if given is None or form in dicom.DICOM.endings:
        return
    if form is not None or not any(format_of(case.images[0]) is dicom.DICOM for case in cases):
        raise InputError(
            "--segment-codes: no result is a DICOM segmentation; leave it out, or predict a DICOM series"
        )


def _codes(given: Path | None, model: Path, predictor: BasePredictor) -> dict[str, SegmentCodes]:
    """Return the segment codes of the given file, or of the one beside the model; empty without a file."""
    from ldseg.data.formats.dicom.segments import SEGMENTS_FILE, read_codes

    file = given or model / SEGMENTS_FILE
    if given is None and not file.is_file():
        return {}
    return read_codes(file, predictor.plan.classes)


def _part(cases: list[Case], model: Path, part: str, fold: int | Literal["all"]) -> list[Case]:
    """Return the cases of one part of the split that the model was trained with."""
    from ldseg.data.splits import match_spelling, read_splits
    from ldseg.errors import InputError, file_error

    if not (model / SPLITS_FILE).is_file():
        finding = f"has no {SPLITS_FILE}, so that nobody knows the parts of its training"
        raise file_error(model, finding, "leave out --part, or give the folder of a training")
    splits = match_spelling(read_splits(model / SPLITS_FILE), cases)
    wanted = set(splits.test if part == "test" else getattr(splits.part(fold), part))
    found = [case for case in cases if case.name in wanted]
    if not found:
        raise InputError(
            f"{model / 'splits.json'}: none of the images is in its part {part}; leave out --part"
        )
    return found


class ProgressReporter:
    """Reports the progress of a prediction case by case."""

    def __init__(self, bar: Progress, total: int) -> None:
        self.bar, self.total, self.done = bar, total, 0

    def __call__(self, event: dict[str, Any]) -> None:
        """Count one more case and show it."""
        self.done += 1
        if event["event"] == "failed":
            self.bar.report(f"failed: {event['error']}")
        self.bar.show(self.done / self.total, event["case"])
