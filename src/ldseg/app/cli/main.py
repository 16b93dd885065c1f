"""Run a command of the command line.

Exit codes: 0 done, 2 an error in the call or its input, 3 some inputs of several failed and the others are
done, 1 an error in ldseg, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ldseg import __version__
from ldseg.app.cli import COMMANDS
from ldseg.app.cli.output import escape_unencodable, one_line
from ldseg.errors import InputError, PartialFailure, RemoteRankError

DONE, OUR_FAULT, INPUT_FAULT, PART_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
_TORCH_OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory")
_MORE_MEMORY = "close other programs, limit predict with --max-memory, or use a machine with more"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    An error in ldseg itself raises, so that its traceback is shown.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    escape_unencodable()
    if not words or words[0] not in COMMANDS:
        return _without_command(words)
    command = import_module(COMMANDS[words[0]])
    parser = make_parser(words[0], command)
    try:
        arguments = parser.parse_args(words[1:])
        return int(command.run(arguments))
    except argparse.ArgumentError as error:
        return _complain(f"{error}; see ldseg {words[0]} --help")
    except RemoteRankError:
        return INPUT_FAULT
    except PartialFailure as error:
        _complain(str(error))
        return PART_FAILED
    except InputError as error:
        return _complain(str(error))
    except MemoryError as error:
        return _complain(f"there is not enough memory ({error}); {_MORE_MEMORY}")
    except RuntimeError as error:
        if not any(words in str(error) for words in _TORCH_OUT_OF_MEMORY):
            raise
        return _complain(f"there is not enough memory ({str(error)[:160]}); {_MORE_MEMORY}")
    except BrokenPipeError:  # the reader has left: `ldseg check DATA | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be written
        return DONE
    except OSError as error:  # the system refuses; where a remedy is known, an InputError came before
        place = f"{error.filename}: " if error.filename else ""
        return _complain(f"{place}{error.strerror or error}; check the path, its rights and the disk")
    except KeyboardInterrupt:
        _complain("interrupted; what was finished is saved")
        return INTERRUPTED


def make_parser(name: str, command: Any) -> Any:
    """Return the parser of one command's arguments."""
    from ldseg.app.cli.parser import ArgumentParser

    description = f"{command.SUMMARY}\n\nExample:\n  {command.EXAMPLE}"
    parser = ArgumentParser(f"ldseg {name}", f"ldseg {name} {command.USAGE}", description)
    command.add_arguments(parser)
    parser.add_full_help()
    return parser


def _without_command(words: list[str]) -> int:
    """Print the help or the version, or report an unknown command; return the exit code."""
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
    """Write the message on one line of stderr and return the exit code of an input error."""
    sys.stderr.write(f"ldseg: error: {one_line(' '.join(message.split()))}\n")
    return INPUT_FAULT


if __name__ == "__main__":
    raise SystemExit(main())
