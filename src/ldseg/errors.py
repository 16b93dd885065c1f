"""Errors about the user's input, which the command line prints as one line with exit code 2."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

_STDERR = 2


class InputError(ValueError):
    """A file or setting of the user cannot be used.

    The message is one line: which file or setting, what is wrong with it, and what to do.
    """


class PartialFailure(InputError):
    """Some of several inputs cannot be used; the others are done."""


class RemoteRankError(InputError):
    """The input error of another process of this command, which that process reports."""


class FileError(InputError):
    """An input error about one file. The message is the whole line, so re-raising by message keeps it."""

    def __init__(self, message: str, file: str = "", finding: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.finding = finding
        self.remedy = remedy


def file_error(file: Path | str, finding: str, remedy: str) -> FileError:
    """Return the error to raise for `file`; `finding` and `remedy` are clauses without a full stop."""
    return FileError(f"{file}: {finding}; {remedy}", str(file), finding, remedy)


@contextmanager
def translate_errors(path: Path, form: str) -> Generator[None, None, None]:
    """Turn any exception of a library that decodes `path` into a FileError and silence its warnings.

    Wrap the library's call only.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:  # damaged bytes make libraries raise anything, MemoryError included
        finding = f"cannot be read as {form} ({first_line(error)})"
        remedy = "it may be truncated or of another format: export it again"
        raise file_error(path, finding, remedy) from error


@contextmanager
def suppress_stderr() -> Generator[None, None, None]:
    """Discard what a C library writes to stderr directly; wrap the library's call only."""
    sys.stderr.flush()
    try:
        original = os.dup(_STDERR)
    except OSError:  # the process has no stderr
        yield
        return
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, _STDERR)
        yield
    finally:
        os.dup2(original, _STDERR)
        os.close(original)
        os.close(devnull)


def first_line(error: BaseException) -> str:
    """Return the most informative line of a library's error message, shortened, else the type's name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # ITK prints source lines before the line with the error.
    errors = [line.split("ERROR:")[1].strip() for line in lines if "ERROR:" in line]
    text = (errors or lines or [type(error).__name__])[0]
    return text if len(text) <= 160 else text[:157] + "..."


def listed(items: Sequence[object], limit: int = 5) -> str:
    """Return at most `limit` items as text for a message, e.g. "a, b and 3 more"."""
    text = ", ".join(str(item) for item in items[:limit])
    return text if len(items) <= limit else f"{text} and {len(items) - limit} more"
