"""What all tables of README.md are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Record = dict[str, Any]
"""One figure of summary.json."""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left, numbers to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(found: dict[str, Record], metric: str, digits: int) -> str:
    """The value, or a dash where it was not measured or there is none."""
    value = found[metric]["value"] if metric in found else None
    return "-" if value is None else f"{value:.{digits}f}"


def spread(record: Record, digits: int, sign: str = "") -> str:
    """Return "value [low, high]", or the value alone where there is no interval (a single subject)."""
    value = f"{record['value']:{sign}.{digits}f}"
    if record["low"] is None:
        return value
    return f"{value} [{record['low']:{sign}.{digits}f}, {record['high']:{sign}.{digits}f}]"


def unit_of(found: dict[str, Record], metric: str) -> str:
    """The unit of a distance that was measured in mm or in pixels, by the name that it was stored under."""
    return "px" if f"{metric}_px" in found else "mm"


def distance(found: dict[str, Record], metric: str) -> Record:
    """The figure of a distance, whichever its unit."""
    return found[f"{metric}_{unit_of(found, metric)}"]


def commit_of(found: dict[str, Record]) -> str:
    """Of figures that one run gave."""
    return str(next(iter(found.values()))["commit"])
