"""One JSON line a figure, written as soon as it is there, so that a killed run leaves what it had."""

from __future__ import annotations

import argparse
import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_STARTED = time.monotonic()


class Journal:
    """Appends records to a file and prints them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, part: str, name: str, **figures: Any) -> None:
        """Append a record; `figures` are plain numbers, texts, lists and dictionaries."""
        record = {"part": part, "name": name, **figures, "at_s": round(time.monotonic() - _STARTED, 1)}
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(json.dumps(record)[:600], flush=True)

    def attempt(self, part: str, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Append what `work` returns, or the error that it ends with: one failure must not cost the rest."""
        started = time.monotonic()
        try:
            found = work()
        except Exception as error:
            traceback.print_exc()
            found = {"ok": False, "error": f"{type(error).__name__}: {error}"[:400]}
        self.add(part, name, **found, seconds=round(time.monotonic() - started, 2))


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file, none if it is not there; a line cut off by a kill is left out."""
    records: list[dict[str, Any]] = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def part_parser(about: str | None) -> argparse.ArgumentParser:
    """Return a parser of what all parts take."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the code on a CPU")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines, appended to")
    parser.add_argument("--work", type=Path, required=True, help="folder for data and runs")
    parser.add_argument("--data-root", type=Path, help="real data, see sets.py")
    return parser


def about_training(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what all lines of a training say of it."""
    names = ("data", "model", "preset", "seed", "workers")
    told = {name: getattr(arguments, name) for name in names}
    return told | {"budget_minutes": arguments.minutes, "budget": "wall clock on a GPU"}


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
