"""ldseg compare: paired differences between the scores of two methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldseg.app.cli.options import add_json
from ldseg.app.cli.output import note, print_json, print_line, print_table

SUMMARY = "Compare the scores of two methods on the same cases."
USAGE = "SCORES_A SCORES_B [options]"
EXAMPLE = "ldseg compare unet/scores.json ldseg/scores.json"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument("a", type=Path, metavar="SCORES_A", help="scores.json of the first method")
    parser.add_argument("b", type=Path, metavar="SCORES_B", help="scores.json of the second")
    add_json(parser)


def run(arguments: Any) -> int:
    """Print the paired differences b - a."""
    from ldseg.errors import InputError
    from ldseg.evaluation.compare import compare
    from ldseg.evaluation.scores import read_scores
    from ldseg.metrics.intervals import format_interval

    a, b = read_scores(arguments.a), read_scores(arguments.b)
    try:
        rows = compare(a, b)
    except InputError as problem:
        raise InputError(f"{arguments.a} and {arguments.b}: {problem}") from problem
    for path, scores in ((arguments.a, a), (arguments.b, b)):
        if scores.failed:
            note(f"{path}: without scores, and so not compared: {', '.join(scores.failed)}")
    if arguments.json:
        print_json(rows)
        return 0
    columns = ("structure and metric", "a", "b", "b - a", "95 % interval", "p")
    print_table(
        columns,
        [
            (
                f"{row.class_name} {row.metric}",
                f"{row.a:.4f}",
                f"{row.b:.4f}",
                f"{row.difference:+.4f}",
                format_interval(row.interval, "+.4f"),
                f"{row.p_value:.3g}",
            )
            for row in rows
        ],
    )
    print_line(
        f"means over {len(a.cases)} cases, intervals and p by {len(set(a.groups))} subjects; "
        "p is of Wilcoxon's signed-rank test, not corrected for the number of rows"
    )
    return 0
