"""Errors that mean "your input is at fault": the command line makes them one line and exit code 2."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

_STDERR = 2


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line for a person: which file or setting, what is wrong with it, and what to do.
    """


class ToldElsewhere(InputError):
    """The same, met by another process of this command, which says it."""


class FileError(InputError):
    """A fault of one file. Its message is the whole line, so re-raising by message keeps it."""

    def __init__(self, message: str, file: str = "", finding: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.finding = finding
        self.remedy = remedy


def file_error(file: Path | str, finding: str, remedy: str) -> FileError:
    """The error to raise for `file`; finding and remedy are parts of a sentence without a full stop."""
    return FileError(f"{file}: {finding}; {remedy}", str(file), finding, remedy)


@contextmanager
def decoding(path: Path, form: str) -> Generator[None, None, None]:
    """One line for whatever a library raises while it decodes `path`, none for what it only mutters about.

    Wrap the library's call only.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except (
        Exception
    ) as problem:  # on damaged bytes libraries raise anything, a MemoryError for a huge size too
        finding = f"cannot be read as {form} ({first_line(problem)})"
        raise file_error(
            path, finding, "it may be truncated or of another format: export it again"
        ) from problem


@contextmanager
def muted() -> Generator[None, None, None]:
    """Without what a library in C writes to stderr by itself; wrap the library's call only."""
    sys.stderr.flush()
    try:
        kept = os.dup(_STDERR)
    except OSError:  # there is none
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)


def first_line(problem: BaseException) -> str:
    """The telling line of a library's message, shortened; the type's name where there is no message."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    errors = [
        line.split("ERROR:")[1].strip() for line in lines if "ERROR:" in line
    ]  # ITK puts source lines first
    text = (errors or lines or [type(problem).__name__])[0]
    return text if len(text) <= 160 else text[:157] + "..."


def listed(items: Sequence[object], limit: int = 5) -> str:
    """At most `limit` items in words, for messages."""
    text = ", ".join(str(item) for item in items[:limit])
    return text if len(items) <= limit else f"{text} and {len(items) - limit} more"
