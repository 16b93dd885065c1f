"""What all tables of README.md are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Record = dict[str, Any]
"""One figure of summary.json."""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with the first column left-aligned and numbers right-aligned."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(found: dict[str, Record], metric: str, digits: int) -> str:
    """Return the formatted value, or a dash where there is none."""
    value = found[metric]["value"] if metric in found else None
    return "-" if value is None else f"{value:.{digits}f}"


def mean_of_cases(records: Sequence[Record], digits: int) -> str:
    """Return the formatted mean of figures, each weighted by its cases, or a dash where there are none."""
    return f"{weighted_mean(records):.{digits}f}" if records else "-"


def weighted_mean(records: Sequence[Record]) -> float:
    """Return the mean of figures, each weighted by its cases."""
    weights = [record.get("cases") or 1 for record in records]
    total = sum(weight * record["value"] for weight, record in zip(weights, records, strict=True))
    return total / sum(weights)


def spread(record: Record, digits: int, sign: str = "") -> str:
    """Return "value [low, high]", or the value alone where there is no interval (a single subject)."""
    value = f"{record['value']:{sign}.{digits}f}"
    if record["low"] is None:
        return value
    return f"{value} [{record['low']:{sign}.{digits}f}, {record['high']:{sign}.{digits}f}]"


def unit_of(found: dict[str, Record], metric: str) -> str:
    """Return the unit of a distance, mm or pixels, by the name that it was stored under."""
    return "px" if f"{metric}_px" in found else "mm"


def distance(found: dict[str, Record], metric: str) -> Record:
    """Return the value of a distance in whichever unit it was stored."""
    return found[f"{metric}_{unit_of(found, metric)}"]


def commit_of(found: dict[str, Record]) -> str:
    """Of figures that one run gave."""
    return str(next(iter(found.values()))["commit"])
