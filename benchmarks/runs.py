"""Results of `accuracy.py` as runs: of one training, of all folds of a cross-validation, of several seeds."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sets import SETS, length_unit_of

METRICS = {
    "dice": "mean_dice",
    **{f"{name}_{unit}": f"mean_{name}_{unit}" for name in ("hd95", "assd") for unit in ("mm", "px")},
    "nsd": "nsd",
}
"""Metric of a case to the name of its mean."""
OWN = 0
"""In place of a number of steps: as the model predicts when nothing else is asked for, fixed beforehand."""

Cases = dict[str, dict[str, float]]
"""Case, metric: the mean over its classes."""
Group = tuple[str, bool, float, str, str]
"""Data, whether cross-validated, budget, model, preset."""


@dataclass(frozen=True)
class Run:
    """One model on one set."""

    data: str
    split: str
    model: str
    preset: str
    seeds: tuple[int, ...]
    budget_minutes: float
    command: str
    commit: str
    cases: dict[int, Cases]
    """By the number of sampling steps with one sample, ascending; `OWN` first."""
    predict_cpu_s: dict[int, float]
    """CPU seconds a case, by the same."""
    figures: dict[str, float]
    """Return the metrics that are one number for the whole run."""

    crossed: bool = False
    """Whether all folds of a cross-validation are taken together; else the test part was scored."""

    @property
    def name(self) -> str:
        """In tables and in the names of differences."""
        return name_of(self.model, self.preset)

    @property
    def header(self) -> dict[str, Any]:
        """What its records have in common."""
        return {
            "benchmark": "accuracy",
            "data": self.data,
            "split": self.split,
            "model": self.model,
            "preset": self.preset,
            "seed": self.seeds[0] if len(self.seeds) == 1 else list(self.seeds),
            "budget_minutes": self.budget_minutes,
            "command": self.command,
            "commit": self.commit,
        }

    @property
    def metrics(self) -> dict[str, str]:
        """Metrics of its cases, each to the name of its mean."""
        measured = next(iter(self.cases[OWN].values()))
        return {metric: name for metric, name in METRICS.items() if metric in measured}

    def column(self, metric: str, steps: int) -> list[float]:
        """One metric of all cases, in the order of their names."""
        return [self.cases[steps][case][metric] for case in sorted(self.cases[steps])]

    def subjects(self) -> list[str]:
        """The subject of each case in the order of `column`, by the set's pattern."""
        pattern = SETS[self.data].options.subject_pattern if self.data in SETS else None
        names = sorted(self.cases[OWN])
        found = [None if pattern is None else re.search(pattern, name) for name in names]
        return [name if match is None else match[1] for name, match in zip(names, found, strict=True)]


def read_runs(results: Iterable[dict[str, Any]]) -> list[Run]:
    """Return the runs in results of `accuracy.py`, in their order in tables.

    The folds of a cross-validation are one run; as long as some of them are missing they are none.
    """
    runs: list[Run] = []
    folds: dict[tuple[Any, ...], list[Run]] = defaultdict(list)
    for result in results:
        run = _read_run(result)
        if result.get("fold") is None:
            runs.append(run)
        else:
            folds[run.data, run.budget_minutes, run.model, run.preset, run.seeds].append(run)
    runs += [_all_folds(parts) for parts in folds.values() if len(parts) == SETS[parts[0].data].folds]
    return sorted(runs, key=lambda run: (run.data, run.budget_minutes, run.model, run.preset, run.seeds))


def _read_run(result: dict[str, Any]) -> Run:
    by_steps = {OWN: result["own"], **{int(steps): scored for steps, scored in result["steps"].items()}}
    by_steps = dict(sorted(by_steps.items()))
    figures = {
        "training_steps": result["training"]["steps"],
        "peak_rss_gb": result["peak_rss_gb"],
        **(result["autoencoder"] or {}),
    }
    return Run(
        data=result["data"],
        split=result["split"],
        model=result["model"],
        preset=result["preset"],
        seeds=(result["seed"],),
        budget_minutes=result["budget_minutes"],
        command=result["command"],
        commit=result["commit"],
        cases={
            steps: _mean_over_classes(scored["cases"], result["data"]) for steps, scored in by_steps.items()
        },
        predict_cpu_s={steps: scored["cpu_s_per_case"] for steps, scored in by_steps.items()},
        figures={name: value for name, value in figures.items() if value is not None},
    )


def _all_folds(parts: Sequence[Run]) -> Run:
    """Return trainings that each left out one fold as one run of all cases."""
    first = parts[0]
    cases = sum(len(part.cases[OWN]) for part in parts)
    return replace(
        first,
        split=f"{len(parts)} folds by subject, each left out in turn, {cases} cases",
        command=re.sub(r"--(fold|patient) \S+", "--fold K", first.command),
        commit=", ".join(dict.fromkeys(part.commit for part in parts)),
        cases={n: {name: one for part in parts for name, one in part.cases[n].items()} for n in first.cases},
        predict_cpu_s={n: _mean(part.predict_cpu_s[n] for part in parts) for n in first.cases},
        figures={name: _mean(part.figures[name] for part in parts) for name in first.figures},
        crossed=True,
    )


def pooled(runs: Sequence[Run]) -> Run:
    """Runs that differ in the seed alone as one: each case's scores averaged over the seeds."""
    runs = sorted(runs, key=lambda run: run.seeds)
    first = runs[0]
    steps = [n for n in first.cases if all(n in run.cases for run in runs)]
    return Run(
        data=first.data,
        split=first.split,
        model=first.model,
        preset=first.preset,
        seeds=tuple(seed for run in runs for seed in run.seeds),
        budget_minutes=first.budget_minutes,
        command="; ".join(run.command for run in runs),
        commit=", ".join(dict.fromkeys(run.commit for run in runs)),
        cases={n: _mean_over_runs([run.cases[n] for run in runs]) for n in steps},
        predict_cpu_s={n: _mean(run.predict_cpu_s[n] for run in runs) for n in steps},
        figures={
            name: _mean(run.figures[name] for run in runs)
            for name in first.figures
            if all(name in run.figures for run in runs)
        },
        crossed=first.crossed,
    )


def by_seed(runs: Iterable[Run]) -> dict[Group, list[Run]]:
    """Runs that differ in the seed alone together."""
    groups: dict[Group, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.data, run.crossed, run.budget_minutes, run.model, run.preset].append(run)
    return dict(groups)


def name_of(model: str, preset: str) -> str:
    """Only ldseg has presets of its own; a baseline has the widths of the default one unless it says so."""
    return f"{model} {preset}" if model == "ldseg" or preset == "paper" else model


def in_unit_of(data: str, metric: str) -> str:
    """Return a metric's name with the unit of the set: early results called pixels mm."""
    unit = length_unit_of(data)
    return re.sub(r"(hd95|assd)_mm", rf"\1_{unit}", metric)


def _mean_over_classes(cases: dict[str, dict[str, dict[str, float]]], data: str) -> Cases:
    return {
        case: {
            in_unit_of(data, metric): _mean(one[metric] for one in classes.values())
            for metric in METRICS
            if all(metric in one for one in classes.values())
        }
        for case, classes in cases.items()
    }


def _mean_over_runs(runs: Sequence[Cases]) -> Cases:
    if any(run.keys() != runs[0].keys() for run in runs):
        raise ValueError("runs of different seeds have different test cases; remove those of an older split")
    return {
        case: {metric: _mean(run[case][metric] for run in runs) for metric in runs[0][case]}
        for case in runs[0]
    }


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
