"""Results on disk: one small JSON file a run, and the scores of single cases as one table a set.

    python benchmarks/store.py            # writes what lies in results/ again, as this module stores it

results/NAME.json holds a result without its cases, a field a line. results/cases/BENCHMARK-DATA.csv.gz holds
the cases of all results of a benchmark on a set: a row for each dictionary of numbers below a key "cases".
Columns:

    result      NAME
    part        where "cases" lies in the result, e.g. "own" or "steps/5"
    case        the key below "cases"
    structure   the key below that, empty where the case itself is a row
    ...         the numbers by their names, to six digits

Finished figures in a list "records" are stored without the fields that they share with their result. What is
written twice gives the same bytes, and a table whose rows did not change is left alone.
"""

from __future__ import annotations

import csv
import fcntl
import gzip
import io
import json
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ldseg.utils.serialization import write_bytes_atomic

Result = dict[str, Any]
Row = dict[str, str]
"""Of a table: by column, as it stands in the file."""
TABLES = "cases"
"""Folder of the tables, and the key of what is in them."""
PLACE = ("result", "part", "case", "structure")
SHARED = (
    "benchmark",
    "data",
    "split",
    "model",
    "preset",
    "seed",
    "budget_minutes",
    "cases",
    "command",
    "commit",
)
"""Fields of a figure that it may have from its result."""
_RECORDS = "records"
_NONE = object()


def write_result(folder: Path, name: str, result: Result) -> Path:
    """Store a result under its name in `folder`, in the place of an earlier one, and return its file."""
    header = json.loads(json.dumps(result))
    rows = [{"result": name, **row} for row in _take_rows(header, ())]
    if _RECORDS in header:
        header[_RECORDS] = [_without(record, header) for record in header[_RECORDS]]
    path = folder / f"{name}.json"
    with _locked(folder):
        table = _table_path(folder, header)
        if rows or table.is_file():
            _write_table(table, [row for row in read_table(table) if row["result"] != name] + rows)
        write_bytes_atomic(path, _lines(_rounded(header)).encode())
    return path


def read_results(folder: Path) -> dict[str, Result]:
    """Return all results of `folder`, whole, by name."""
    paths = sorted(folder.glob("*.json"))
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    for path in sorted((folder / TABLES).glob("*.csv.gz")):
        for row in read_table(path):
            if row["result"] in found:
                _put_row(found[row["result"]], row)
    for result in found.values():
        if _RECORDS in result:
            shared = {key: result[key] for key in SHARED if key in result}
            result[_RECORDS] = [{**shared, **record} for record in result[_RECORDS]]
    return found


def read_result(folder: Path, name: str) -> Result:
    """Return one result, whole. Raises KeyError where there is none."""
    return read_results(folder)[name]


def remove_result(folder: Path, name: str) -> None:
    """Remove a result with its cases."""
    with _locked(folder):
        (folder / f"{name}.json").unlink()
        for path in sorted((folder / TABLES).glob("*.csv.gz")):
            _write_table(path, [row for row in read_table(path) if row["result"] != name])


def read_table(path: Path) -> list[Row]:
    """Return the rows of a table; none where there is no file."""
    if not path.is_file():
        return []
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write_table(path: Path, rows: list[Row]) -> None:
    """Write a table, unless it holds these rows already; one without rows is removed."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    metrics = sorted({column for row in rows for column, value in row.items() if value} - set(PLACE))
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, (*PLACE, *metrics), restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(sorted(rows, key=lambda row: tuple(row[column] for column in PLACE)))
    content = text.getvalue().encode()
    if path.is_file() and gzip.decompress(path.read_bytes()) == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, gzip.compress(content, 9, mtime=0))


def _take_rows(value: Any, place: tuple[str, ...]) -> Iterator[Row]:
    """Remove the tables from a result and return their rows."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _take_rows(one, (*place, str(index)))
    if not isinstance(value, dict):
        return
    if _is_table(value.get(TABLES)):
        yield from _rows(value.pop(TABLES), "/".join(place))
    for key, one in value.items():
        yield from _take_rows(one, (*place, key))


def _is_table(value: Any) -> bool:
    """Return whether a value is numbers by case, or by case and structure."""
    return _is_filled(value) and all(
        _is_row(one) or (_is_filled(one) and all(map(_is_row, one.values()))) for one in value.values()
    )


def _is_row(value: Any) -> bool:
    return _is_filled(value) and all(type(number) in (int, float) for number in value.values())


def _is_filled(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _rows(cases: dict[str, Any], part: str) -> Iterator[Row]:
    for case, found in cases.items():
        for structure, numbers in [("", found)] if _is_row(found) else found.items():
            written = {metric: f"{number:.6g}" for metric, number in numbers.items()}
            yield {"part": part, "case": case, "structure": structure, **written}


def _put_row(result: Result, row: Row) -> None:
    place: Any = result
    for key in filter(None, row["part"].split("/")):
        place = place[int(key) if isinstance(place, list) else key]
    numbers = {key: float(value) for key, value in row.items() if value and key not in PLACE}
    case = place.setdefault(TABLES, {})
    if row["structure"]:
        case.setdefault(row["case"], {})[row["structure"]] = numbers
    else:
        case[row["case"]] = numbers


def _table_path(folder: Path, result: Result) -> Path:
    words = [str(result[key]) for key in ("benchmark", "data") if result.get(key)]
    return folder / TABLES / f"{'-'.join(words) or 'unnamed'}.csv.gz"


def _without(record: Result, shared: Result) -> Result:
    """Return a record without the fields that are the result's."""
    return {k: value for k, value in record.items() if k not in SHARED or shared.get(k, _NONE) != value}


def _rounded(value: Any) -> Any:
    """Return JSON with numbers to seven digits."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def _lines(header: Result) -> str:
    """Return JSON with a field, or an element of a list of objects, a line."""
    fields = [f" {json.dumps(key)}: {_field(value)}" for key, value in header.items()]
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _field(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return "[\n" + ",\n".join(f"  {json.dumps(one)}" for one in value) + "\n ]"
    return json.dumps(value)


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Let one process at a time change the results: trainings run beside each other."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def store_again(folder: Path, names: Iterable[str] | None = None) -> None:
    """Write results again as they are stored now; all of them by default."""
    found = read_results(folder)
    for name in found if names is None else names:
        write_result(folder, name, found[name])


if __name__ == "__main__":
    store_again(Path(__file__).parent / "results")
