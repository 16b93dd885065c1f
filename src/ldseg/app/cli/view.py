"""ldseg view: show images, their predictions, posterior samples and references on a local web page."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.app.cli.options import (
    add_decision,
    add_harmonize,
    add_models,
    add_sampler,
    admit_models,
    models_of,
)
from ldseg.app.cli.output import group_notes, note, print_line
from ldseg.app.cli.sampling_options import refuse_contradictions, report_ignored_options
from ldseg.app.cli.unfinished import report_unfinished

if TYPE_CHECKING:
    from ldseg.app.viewer.case_list import CaseList
    from ldseg.app.viewer.session import PredictionSource, Session
    from ldseg.data.cases import Case
    from ldseg.inference.output import OnPlanes
    from ldseg.planning.plan import Plan

SUMMARY = "Show images, their predictions and the posterior samples in a browser."
USAGE = "IMAGE... -m RUN [options]"
EXAMPLE = "ldseg view new/ -m runs/hippocampus --reference reference/"
_OF_A_PREDICTION = ("samples", "steps", "sampler", "tta", "decision")


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "image", nargs="+", type=Path, metavar="IMAGE", help="images, folders of images, or a data set"
    )
    add_models(parser, required=False)
    parser.add_argument(
        "--prediction",
        type=Path,
        metavar="PATH",
        help="show what ldseg predict wrote (a folder, or the labels of one image) and predict nothing",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="PATH",
        help="reference masks as a layer of their own, with Dice: a folder, a data set, or one mask",
    )
    parser.add_argument(
        "--samples",
        type=int | None,
        help="posterior samples to begin with; the model's own number by default",
    )
    parser.add_argument("--steps", type=int | None, help="diffusion steps; the model's own by default")
    add_sampler(parser)
    add_decision(parser)
    add_harmonize(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the noise; 0 by default")
    parser.add_argument("--port", type=int, default=0, help="of the page; a free one by default")
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    parser.add_argument("--device", help="e.g. cpu, cuda, mps; the best one here by default")


def run(arguments: Any) -> int:
    """Serve the page until Ctrl-C and return 0."""
    from ldseg.app.viewer.server import ViewerServer

    refuse_contradictions(arguments)
    with ViewerServer(arguments.port) as server:
        cases = _cases(arguments)
        print_line(server.address)
        sys.stdout.flush()  # whoever reads it through a pipe waits for it
        note("the page is there until Ctrl-C")
        if not arguments.no_browser:
            webbrowser.open(server.address)
        try:
            server.show(cases)
        except KeyboardInterrupt:
            cases.end()
    return 0


def _cases(arguments: Any) -> CaseList:
    """Return the cases, the first of them open. Raises InputError if images or model cannot be used."""
    from ldseg.app.viewer.case_list import CaseList
    from ldseg.app.viewer.reading import read_case, with_references
    from ldseg.app.viewer.session import Session
    from ldseg.data.inputs import find_inputs
    from ldseg.preprocessing.preprocess import notes_of

    source = _model(arguments) if arguments.prediction is None else _stored(arguments)
    plan = source.plan
    cases = find_inputs(arguments.image, len(plan.channels), plan.axes, plan.stored_in_channel_files, note)
    if arguments.reference is not None:
        cases = with_references(cases, arguments.reference)

    def open_case(number: int, on_planes: OnPlanes) -> Session:
        case = cases[number]
        _refuse_large(case, plan)
        image, references = read_case(case, plan)
        for remark in group_notes({case.name: notes_of(image, plan)}):
            note(remark)
        note(f"{'segmenting' if arguments.prediction is None else 'reading the prediction of'} {case.name}")
        return Session(source, image, case.name, str(case.images[0]), references, on_planes)

    return CaseList([case.name for case in cases], open_case)


def _model(arguments: Any) -> PredictionSource:
    """Return the model that is asked for, or the ensemble. Raises InputError if it cannot be used."""
    from ldseg.app.viewer.model_source import ModelSource
    from ldseg.errors import InputError
    from ldseg.inference.ensemble_files import load_models

    if not arguments.model:
        raise InputError("nothing says what to show over the image; give a model with -m, or --prediction")
    admit_models(arguments)
    predictor = load_models(models_of(arguments), arguments.device)
    predictor = predictor if arguments.harmonize else predictor.without_harmonization()
    predictor = predictor if arguments.decision is None else predictor.deciding_by(arguments.decision)
    sampling = predictor.posterior_sampling(
        arguments.steps, arguments.samples, arguments.sampler, arguments.tta
    )
    report_unfinished(models_of(arguments))
    report_ignored_options(predictor, sampling, arguments)
    if predictor.stochastic and not sampling.single_call:
        stepwise = predictor.stepwise
        how = f"by {sampling.sampler} in {sampling.steps} steps" if stepwise else "drawn at once"
        note(f"{sampling.samples} samples {how}")
    return ModelSource(predictor, sampling, arguments.seed)


def _stored(arguments: Any) -> PredictionSource:
    """Return the files of an earlier prediction. Raises InputError if they cannot be used, or if options are
    given that are of a new prediction."""
    from ldseg.app.viewer.stored_source import StoredSource
    from ldseg.errors import InputError
    from ldseg.inference.ensemble_files import member_folders
    from ldseg.planning.plan import read_plan
    from ldseg.runs.files import PLAN_FILE
    from ldseg.zoo.catalogue import find_model

    for name in _OF_A_PREDICTION:
        if getattr(arguments, name) is not None:
            raise InputError(f"--{name} is for a new prediction; leave it out, or leave out --prediction")
    models = models_of(arguments)
    folders = [find_model(one) for one in models]
    members = [member for folder in folders for member in (*member_folders(folder), folder)]
    return StoredSource(arguments.prediction, read_plan(members[0] / PLAN_FILE) if members else None)


def _refuse_large(case: Case, plan: Plan) -> None:
    """Raise InputError for an image that is too large for memory."""
    from ldseg.errors import file_error
    from ldseg.inference.tiled_tiff import is_large

    if is_large(case, plan.axes):
        raise file_error(case.images[0], "is too large to be looked at whole", "cut a part out of it")
