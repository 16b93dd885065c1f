"""ldseg doctor: print the environment of this machine, for a bug report."""

from __future__ import annotations

from typing import Any

from ldseg.app.cli.options import add_json
from ldseg.app.cli.output import note, print_json, print_line

SUMMARY = "Report versions, device, speed, memory and known issues of this machine."
USAGE = "[--seconds 60] [--json]"
EXAMPLE = "ldseg doctor > machine.txt"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        help="limit of the measurements, which end sooner as a rule; 60 by default, 0 leaves them out",
    )
    add_json(parser)


def run(arguments: Any) -> int:
    """Print the report and return 0, even if the machine has known issues."""
    from ldseg.app.doctor.environment import collect
    from ldseg.app.doctor.known_issues import known_issues
    from ldseg.app.doctor.probing import probe
    from ldseg.errors import InputError

    if not arguments.seconds >= 0:
        raise InputError(f"--seconds is {arguments.seconds:g}; give 0 or more")
    if arguments.seconds > 0:
        note(f"measuring for at most {arguments.seconds:g} s")
    report = collect() | probe(arguments.seconds)
    found = known_issues(report)
    if arguments.json:
        print_json({**report, "known_issues": found})
        return 0
    for section, values in report.items():
        print_line(section)
        for name, value in values.items():
            print_line(f"  {name:<28}{'unknown' if value is None else value}")
    print_line("known issues")
    for line in found or ["nothing known to be bad was found"]:
        print_line(f"  {line}")
    return 0
