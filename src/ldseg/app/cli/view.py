"""ldseg view: show an image, its prediction and the posterior samples on a local web page."""

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

if TYPE_CHECKING:
    from ldseg.app.viewer.session import Session
    from ldseg.data.cases import Case
    from ldseg.planning.plan import Plan

SUMMARY = "Show an image, its prediction and the posterior samples in a browser."
USAGE = "IMAGE -m RUN [options]"
EXAMPLE = "ldseg view scan.nii.gz -m runs/hippocampus"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "image",
        nargs="+",
        type=Path,
        metavar="IMAGE",
        help="an image; several files where channels are files",
    )
    add_models(parser)
    parser.add_argument(
        "--samples",
        type=int | None,
        help="posterior samples to begin with; the model's own number by default",
    )
    parser.add_argument("--steps", type=int | None, help="diffusion steps; the model's own by default")
    add_sampler(parser)
    add_decision(parser)
    add_harmonize(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--port", type=int, default=0, help="of the page; a free one by default")
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    parser.add_argument("--device", help="e.g. cpu, cuda, mps; the best one here by default")


def run(arguments: Any) -> int:
    """Serve the page until Ctrl-C and return 0."""
    from ldseg.app.viewer.server import ViewerServer

    refuse_contradictions(arguments)
    with ViewerServer(arguments.port) as server:
        session = _session(arguments)
        print_line(server.address)
        sys.stdout.flush()  # whoever reads it through a pipe waits for it
        note("the page is there until Ctrl-C")
        if not arguments.no_browser:
            webbrowser.open(server.address)
        try:
            server.show(session)
        except KeyboardInterrupt:
            session.end()
    return 0


def _session(arguments: Any) -> Session:
    """Return a session with the segmented image. Raises InputError if image or model cannot be used."""
    from ldseg.app.viewer.session import Session
    from ldseg.data.loading import load_input
    from ldseg.inference.ensemble_files import load_models
    from ldseg.preprocessing.preprocess import notes_of

    admit_models(arguments)
    predictor = load_models(models_of(arguments), arguments.device)
    predictor = predictor if arguments.harmonize else predictor.without_harmonization()
    predictor = predictor if arguments.decision is None else predictor.deciding_by(arguments.decision)
    sampling = predictor.posterior_sampling(
        arguments.steps, arguments.samples, arguments.sampler, arguments.tta
    )
    report_ignored_options(predictor.stochastic, predictor.plan, arguments)
    plan = predictor.plan
    case = _only_case(arguments.image, plan)
    image, source = load_input(case, len(plan.channels), plan.axes), str(case.images[0])
    for remark in group_notes({case.name: notes_of(image, plan)}):
        note(remark)
    how = f"{sampling.samples} samples by {sampling.sampler} in {sampling.steps} steps"
    varies = predictor.stochastic and not sampling.single_call
    note(f"segmenting {case.name}, {how if varies else 'one prediction'}")
    return Session(predictor, image, case.name, sampling, arguments.seed, source)


def _only_case(paths: list[Path], plan: Plan) -> Case:
    """Return the one case at `paths`. Raises InputError for several images, or one too large for memory."""
    from ldseg.data.inputs import find_inputs
    from ldseg.errors import file_error
    from ldseg.inference.tiled_tiff import is_large

    cases = find_inputs(paths, len(plan.channels), plan.axes, plan.stored_in_channel_files, note)
    if len(cases) > 1:
        names = ", ".join(case.name for case in cases[:3]) + (" ..." if len(cases) > 3 else "")
        finding = f"has {len(cases)} images ({names})"
        raise file_error(paths[0], finding, "give one of them")
    (case,) = cases
    if is_large(case, plan.axes):
        raise file_error(case.images[0], "is too large to be looked at whole", "cut a part out of it")
    return case
