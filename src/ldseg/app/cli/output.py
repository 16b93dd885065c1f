"""What people see: results on stdout as tables or JSON, progress on stderr as a bar or as plain lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ldseg.utils.serialization import to_json


def print_json(content: Any) -> None:
    """Dataclasses, dicts and lists as JSON on stdout."""
    sys.stdout.write(json.dumps(to_json(content), indent=1, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """A table on stdout; the first column is text, numbers follow."""
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
    """Without what ends a line or steers a terminal: names of files may hold anything."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def print_line(text: str) -> None:
    """A line of the result, on stdout."""
    sys.stdout.write(one_line(text) + "\n")


def note(text: str) -> None:
    """A line for a person who watches, on stderr."""
    sys.stderr.write(one_line(text) + "\n")
    sys.stderr.flush()


def group_notes(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line for each note, with the names of the cases that it is about; at most three are named."""
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
    """Where a long command stands. Without a terminal, a line whenever another twentieth is done."""

    def __init__(self, task: str, bar: Any = None, silent: bool = False) -> None:
        self._task, self._bar, self._silent, self._told = task, bar, silent, 0
        self._row = None if bar is None else bar.add_task(task, total=1.0)

    def show(self, share: float, text: str = "") -> None:
        """`share` of the work, 0 to 1, is done."""
        if self._bar is not None:
            self._bar.update(self._row, completed=share, description=one_line(f"{self._task}  {text}"))
        elif int(share * 20) > self._told and not self._silent:
            self._told = int(share * 20)
            note(f"{self._task}: {share:4.0%}  {text}".rstrip())

    def report(self, text: str) -> None:
        """A line that stays, above the bar."""
        if self._bar is not None:
            self._bar.console.print(one_line(text), highlight=False, markup=False)
        elif not self._silent:
            note(text)


@contextmanager
def progress(task: str, shown: bool = True) -> Generator[Progress]:
    """A bar on a terminal, plain lines otherwise, nothing where it is not to be `shown`."""
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
