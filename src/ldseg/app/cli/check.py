"""ldseg check: read every case and list its properties and the issues found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.app.cli.options import add_data_section, add_json, data_options
from ldseg.app.cli.output import print_json, print_line, print_table, progress

if TYPE_CHECKING:
    from ldseg.data.cases import DataSet
    from ldseg.data.checks import DatasetReport

SUMMARY = "Read every case of a data set; list shapes, spacings, label ids and faults."
USAGE = "DATA [options]"
EXAMPLE = "ldseg check Dataset004_Hippocampus"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "dataset", type=Path, metavar="DATA", help="folder, or CSV/JSON list, of images and masks"
    )
    add_json(parser)
    add_data_section(parser)


def run(arguments: Any) -> int:
    """Check the data set and return 0. Raises InputError if it has issues."""
    from ldseg.data.checks import check
    from ldseg.data.dataset import open_dataset
    from ldseg.errors import InputError

    dataset = open_dataset(arguments.dataset, data_options(arguments))
    with progress("reading") as bar:
        total, names = len(dataset.cases), [case.name for case in dataset.cases]
        report = check(dataset, lambda case: bar.show((names.index(case.name) + 1) / total, case.name))
    if arguments.json:
        print_json({**_about(dataset), "rows": report.rows, "faults": report.faults, "hints": report.hints})
    else:
        _print(dataset, report)
    if report.faults:
        count = len(report.faults)
        raise InputError(
            f"{arguments.dataset}: {count} fault{'s' if count > 1 else ''}; repair what is listed above"
        )
    return 0


def _about(dataset: DataSet) -> dict[str, Any]:
    return {
        "root": str(dataset.root),
        "layout": dataset.layout,
        "axes": dataset.axes,
        "channels": dataset.channel_names,
        "classes": dataset.classes,
        "ignore_id": dataset.ignore_id,
    }


def _print(dataset: DataSet, report: DatasetReport) -> None:
    for name, value in _about(dataset).items():
        print_line(f"{name:>10}  {value}")
    rows = [
        (
            row.name,
            row.subject,
            " x ".join(map(str, row.shape)),
            " x ".join(f"{step:.4g}" for step in row.spacing) if row.physical else "none",
            row.dtype,
            row.raters,
            ", ".join(f"{number}: {count}" for number, count in row.ids.items()),
        )
        for row in report.rows
    ]
    print_table(("case", "subject", "voxels", "spacing", "type", "masks", "id: voxels"), rows)
    print_line(f"{len(report.rows)} cases are readable")
    for hint in report.hints:
        print_line(f"hint: {hint}")
    for fault in report.faults:
        print_line(f"fault: {fault.file}: {fault.finding}; {fault.remedy}")
