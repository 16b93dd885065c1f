"""ldseg report: one page that shows a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldseg.commands.options import add_json
from ldseg.commands.output import print_json, print_line, progress

SUMMARY = "Write one HTML page: data, curves, scores, cases in pictures, confidence, robustness."
USAGE = "RUN [-o report.html] [options]"
EXAMPLE = "ldseg report runs/hippocampus -o hippocampus.html"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder that ldseg train wrote")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PAGE", help="HTML file; report.html in RUN by default"
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
    parser.add_argument("--seed", type=int, default=0, help="of the noise and of the bootstrap intervals")
    parser.add_argument("--device", help="e.g. cpu, cuda, mps; the best one here by default")
    add_json(parser)


def run(arguments: Any) -> int:
    """Measure and write the page."""
    from ldseg.reporting.gather import ReportOptions, gather
    from ldseg.reporting.page import check_output, write_page

    page: Path = arguments.output or arguments.run / "report.html"
    check_output(page)
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
    with progress("measuring") as bar:
        report = gather(arguments.run, options, arguments.device, bar.show)
    write_page(page, report)
    count, dice = len(report.scores.cases), report.scores.mean_dice
    if arguments.json:
        shown = {title: one.case for title, one in report.portraits.items()}
        print_json({"page": str(page), "cases": count, "mean_dice": dice, "shown": shown})
    else:
        print_line(f"{page}: mean Dice {dice:.3f} over {count} cases; open it in a browser")
    return 0
