"""ldseg models: list the models that come with the package."""

from __future__ import annotations

from typing import Any

from ldseg.app.cli.options import add_json
from ldseg.app.cli.output import print_json, print_line, print_table

SUMMARY = "List the models that come with ldseg, or show the card of one."
USAGE = "[NAME] [--json]"
EXAMPLE = "ldseg models hippocampus"


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show the card of this model")
    add_json(parser)


def run(arguments: Any) -> int:
    """Print a table of all models, or the card of one."""
    from ldseg.errors import InputError
    from ldseg.runs.files import CARD_FILE
    from ldseg.utils.serialization import to_json
    from ldseg.zoo.catalogue import read_about, shipped

    folders = shipped()
    if arguments.name is not None and arguments.name not in folders:
        raise InputError(f"{arguments.name}: there is no such model; choose one of {', '.join(folders)}")
    chosen = {arguments.name: folders[arguments.name]} if arguments.name else folders
    about = {name: read_about(folder) for name, folder in chosen.items()}
    if arguments.json:
        print_json({name: {**to_json(found), "folder": str(chosen[name])} for name, found in about.items()})
    elif arguments.name:
        for line in (chosen[arguments.name] / CARD_FILE).read_text(encoding="utf-8").rstrip().splitlines():
            print_line(line)
    else:
        print_table(
            ("name", "image", "structures", "Dice on test cases", "licence"),
            [
                (
                    name,
                    found.image,
                    ", ".join(found.structures),
                    f"{found.mean_dice:.3f} ({found.test_cases})",
                    found.licence,
                )
                for name, found in about.items()
            ],
        )
        print_line("Use one by its name: ldseg predict IMAGE -m NAME. Its card: ldseg models NAME")
    return 0
