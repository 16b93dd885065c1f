"""ldseg report: one page that shows a trained model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ldseg.app.cli.options import MODEL_HELP, add_allow_code, add_json, admit_model
from ldseg.app.cli.output import group_notes, note, print_json, print_line, progress
from ldseg.app.cli.sampling_options import report_ignored_options
from ldseg.app.cli.unfinished import report_unfinished

SUMMARY = "Write one HTML page: data, training curves, scores, example cases, confidence, robustness."
USAGE = "RUN [-o report.html] [options]"
EXAMPLE = "ldseg report runs/hippocampus -o hippocampus.html"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help=MODEL_HELP)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PAGE",
        help="HTML file; report.html in RUN by default, NAME-report.html here for a shipped model",
    )
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="DIR",
        help="folder to write each chart and each figure of images into, as PDF and SVG",
    )
    parser.add_argument("--data", type=Path, help="images and masks, where not those of the training")
    parser.add_argument(
        "--part", choices=("test", "validation"), help="cases to measure; the test part by default, if any"
    )
    parser.add_argument(
        "--cases",
        help="names of the cases to show, separated by commas; the best, median and worst by default",
    )
    parser.add_argument("--limit", type=int | None, help="measure at most so many cases, evenly spaced")
    parser.add_argument(
        "--scores", type=Path, metavar="FILE", help="scores.json to show; scored here by default"
    )
    parser.add_argument(
        "--robustness",
        type=Path,
        metavar="OUT",
        help="folder that ldseg robustness wrote; RUN/robustness by default, if there is one",
    )
    parser.add_argument(
        "--samples", type=int | None, help="posterior samples of a case; the model's own number by default"
    )
    parser.add_argument("--steps", type=int | None, help="diffusion steps; the model's own by default")
    parser.add_argument("--seed", type=int, default=0, help="of the noise; 0 by default")
    parser.add_argument("--device", help="e.g. cpu, cuda, mps; the best one here by default")
    add_allow_code(parser)
    add_json(parser)


def run(arguments: Any) -> int:
    """Evaluate the model and write the page."""
    from ldseg.app.report.collect import ReportOptions, collect
    from ldseg.app.report.page import check_output, write_page
    from ldseg.app.report.report_charts import check_folder, write_figures
    from ldseg.errors import InputError
    from ldseg.zoo.catalogue import find_model, is_shipped

    run = find_model(arguments.run)
    admit_model(arguments, run)
    own = Path(f"{arguments.run}-report.html") if is_shipped(run) else run / "report.html"
    page: Path = arguments.output or own
    check_output(page)
    if arguments.figures is not None:
        check_folder(arguments.figures)
    if arguments.part is not None and arguments.scores is not None:
        raise InputError("--scores says which cases are shown; leave out --part, or --scores")
    options = ReportOptions(
        data=arguments.data,
        part=arguments.part,
        cases=tuple(name.strip() for name in (arguments.cases or "").split(",") if name.strip()),
        scores=arguments.scores,
        robustness=arguments.robustness,
        limit=arguments.limit,
        samples=arguments.samples,
        steps=arguments.steps,
        seed=arguments.seed,
    )
    report_unfinished([run])
    with progress("measuring") as bar:
        report = collect(
            run, options, arguments.device, bar.show, partial(report_ignored_options, arguments=arguments)
        )
    for line in group_notes(report.measurements.notes):
        note(line)
    write_page(page, report)
    figures = [] if arguments.figures is None else write_figures(arguments.figures, report)
    count, dice = len(report.scores.cases), report.scores.mean_dice
    if arguments.json:
        shown = {title: one.case for title, one in report.case_figures.items()}
        told = {"page": str(page), "cases": count, "mean_dice": dice, "shown": shown}
        print_json({**told, "figures": [str(path) for path in figures]})
    else:
        seen = " that the model was trained on in part" if report.evaluation.seen == "some" else ""
        print_line(f"{page}: mean Dice {dice:.3f} over {count} cases{seen}; open it in a browser")
        if figures:
            print_line(f"{arguments.figures}: {len(figures) // 2} figures, each as PDF and SVG")
    return 0
