"""The command line. Exit codes: 0 done; 2 the user's input is at fault; 1 our fault; 130 interrupted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ldseg import __version__
from ldseg.commands import COMMANDS
from ldseg.errors import InputError, ToldElsewhere

DONE, OUR_FAULT, INPUT_FAULT, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; a fault of ours leaves with its traceback and code 1."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in COMMANDS:
        return _without_command(words)
    command = import_module(COMMANDS[words[0]])
    parser = make_parser(words[0], command)
    try:
        arguments = parser.parse_args(words[1:])
        return int(command.run(arguments))
    except argparse.ArgumentError as error:
        return _complain(f"{error}; see ldseg {words[0]} --help")
    except ToldElsewhere:
        return INPUT_FAULT
    except InputError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        _complain("interrupted; what was finished is saved")
        return INTERRUPTED


def make_parser(name: str, command: Any) -> Any:
    """The parser of one command's arguments."""
    import jsonargparse

    class Formatter(argparse.RawDescriptionHelpFormatter, jsonargparse.DefaultHelpFormatter):
        """Keeps the line breaks of the example, and says of an argument what its help says."""

        def _get_help_string(self, action: argparse.Action) -> str:
            return action.help or ""

    parser = jsonargparse.ArgumentParser(
        prog=f"ldseg {name}",
        usage=f"ldseg {name} {command.USAGE}",
        description=f"{command.SUMMARY}\n\nExample:\n  {command.EXAMPLE}",
        formatter_class=Formatter,
        exit_on_error=False,
    )
    command.add_arguments(parser)
    return parser


def _without_command(words: list[str]) -> int:
    """Help, version, or an error."""
    listing = "\n".join(f"  {name:<12}{import_module(place).SUMMARY}" for name, place in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="ldseg",
        usage="ldseg COMMAND ...",
        description="Latent diffusion for medical image segmentation: a segmentation, and how sure it is.",
        epilog=f"commands:\n{listing}\n\nldseg COMMAND --help shows an example of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        exit_on_error=False,
    )
    parser.add_argument("--version", action="version", version=f"ldseg {__version__}")
    if not words:
        parser.print_help()
        return INPUT_FAULT
    if words[0].startswith("-"):
        parser.parse_known_args(words)
    return _complain(f"there is no command {words[0]!r}; choose one of {', '.join(COMMANDS)}")


def _complain(message: str) -> int:
    """One line on stderr, whatever the message."""
    sys.stderr.write(f"ldseg: error: {' '.join(message.split())}\n")
    return INPUT_FAULT


if __name__ == "__main__":
    raise SystemExit(main())
