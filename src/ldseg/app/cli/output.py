"""Terminal output: results on stdout as tables or JSON, progress on stderr as a bar or plain lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

from ldseg.utils.serialization import to_json


def escape_unencodable() -> None:
    """Let the terminal's streams write an escape for a character that their encoding lacks; a file's name may
    have any."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(content: Any) -> None:
    """Print dataclasses, dicts and lists as JSON on stdout."""
    sys.stdout.write(json.dumps(to_json(content), indent=1, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print a table on stdout: text in the first column, numbers in the others."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(str(entry))) for entry in row))
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)


def one_line(text: str) -> str:
    """Return the text with line breaks and control characters escaped, which file names may contain, and
    with shipped models called by their names."""
    from ldseg.zoo.catalogue import by_name

    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in by_name(text))


def print_line(text: str) -> None:
    """Print a line of the result on stdout."""
    sys.stdout.write(one_line(text) + "\n")


def note(text: str) -> None:
    """Print a message on stderr."""
    sys.stderr.write(one_line(text) + "\n")
    sys.stderr.flush()


def group_notes(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Return one line per note with the names of its cases, of which at most three are listed."""
    cases: dict[str, list[str]] = {}
    for name, said in notes.items():
        for text in said:
            cases.setdefault(text, []).append(name)
    lines: list[str] = []
    for text, names in cases.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(f"{', '.join(names[:3])}{more}: {text}")
    return lines


class Progress:
    """Progress of a long command. Without a terminal, one line is printed per 5 % of the work, and per 25 %
    of each further piece of work, which begins where the share falls, e.g. a fold or a calibration."""

    def __init__(self, task: str, bar: Any = None, silent: bool = False) -> None:
        self._task, self._bar, self._silent, self._told, self._lines = task, bar, silent, 0, 20
        self._row = None if bar is None else bar.add_task(task, total=1.0)

    def show(self, share: float, text: str = "") -> None:
        """Show that `share` of the work, 0 to 1, is done."""
        if self._bar is not None:
            self._bar.update(self._row, completed=share, description=one_line(f"{self._task}  {text}"))
            return
        if int(share * self._lines) < self._told:
            self._told, self._lines = 0, 4
        done = int(share * self._lines)
        if done > self._told and not self._silent:
            self._told = done
            note(f"{self._task}: {share:4.0%}  {text}".rstrip())

    def report(self, text: str) -> None:
        """Print a permanent line above the bar."""
        if self._bar is not None:
            self._bar.console.print(one_line(text), highlight=False, markup=False)
        elif not self._silent:
            note(text)


@contextmanager
def progress(task: str, shown: bool = True) -> Generator[Progress]:
    """Show progress as a bar on a terminal and as plain lines otherwise; nothing unless `shown`."""
    if not shown:
        yield Progress(task, silent=True)
        return
    if not sys.stderr.isatty():
        yield Progress(task)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), "{task.percentage:>3.0f}%")
    with Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        yield Progress(task, bar)
