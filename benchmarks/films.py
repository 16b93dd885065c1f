"""Results of `cine.py` as runs like those of `accuracy.py`: patients left out in turn, films together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from runs import Run, read_run, together

_CORES = 2
"""Budgets of `accuracy.py` are minutes of so many cores, those of `cine.py` CPU minutes."""


def read_films(results: Iterable[dict[str, Any]]) -> list[Run]:
    """Return one run per model, budget and seed; those that lack a patient are left out."""
    groups: dict[tuple[Any, ...], list[Run]] = defaultdict(list)
    for result in results:
        minutes = result["budget_minutes"] / _CORES
        run = read_run({**result, "budget_minutes": minutes, "autoencoder": None})
        groups[run.data, minutes, run.model, run.preset, run.seeds].append(run)
    runs = [_all_films(parts) for parts in groups.values()]
    most = max((len(run.cases[0]) for run in runs), default=0)
    return [run for run in runs if len(run.cases[0]) == most]


def _all_films(parts: list[Run]) -> Run:
    """Pool the trainings that each left one patient out."""
    films = sum(len(part.cases[0]) for part in parts)
    split = f"{len(parts)} patients, each left out in turn, {films} films"
    patient = re.compile(r"--patient \S+")
    return together(parts, split, patient.sub("--patient NAME", parts[0].command))
