"""Train and score all that `plan.py` lists and that is missing in results/.

    python benchmarks/figures.py --list
    python benchmarks/figures.py --data-root DATA --work WORK [--nnunet VENV] [--parallel 2]
    python benchmarks/figures.py --data-root DATA --work WORK --only 'usgra-unet-*' 'hc18-*'
    python benchmarks/figures.py --take OTHER/benchmarks/results

Each training is processes of one thread, one after the other: `accuracy.py`, `calibration.py` and
`robustness.py` of the same run, or `raters.py`, or `nnunet.py`. An interrupted training goes on when the same
command is given again. A result that is there is skipped, of whatever commit it is: `--list` says which are
of other code than the present one or that of `--commit`, and `--again` makes these anew, from new trainings.
For rows of one commit, train in a checkout of it, and `--take` its results/ from there. While the plan's
result is missing, a stand-in (the same with another budget) stays in the tables; `--prune` removes those that
are replaced. The last step is `summary.py`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, Literal

import store
from markdown_table import table
from plan import CONTROL, MODELS, NNUNET, OURS, PLAN, Model, PlannedSet
from records import RESULTS

HERE = Path(__file__).parent
State = Literal["there", "of other code", "stand-in", "missing"]
_IDENTITY = ("benchmark", "data", "model", "preset", "seed")
CHANGE_NO_SCORE = ("app", "export", "zoo")
"""Packages of src/ldseg."""
_TRAINING_OVERHEAD = 1.15
"""CPU time of a training over its budget: preparing the data, validation, saving."""
_NNUNET_HOURS = 0.3
"""CPU hours of its preprocessing and prediction."""


@dataclass(frozen=True)
class Step:
    """One call of a script that gives one result."""

    script: str
    result: str
    """Name of the result."""
    arguments: tuple[str, ...] = ()
    """Beside those of its training."""


@dataclass(frozen=True)
class Training:
    """A training of the plan, and what is scored with it."""

    planned: PlannedSet
    model: Model
    seed: int
    minutes: float
    fold: int | None = None

    @property
    def label(self) -> str:
        """Its name, as `--only` takes it."""
        trained = f"{self.planned.data}-{'-'.join(self.model)}-seed{self.seed}-{self.minutes:g}min"
        return trained if self.fold is None else f"{trained}-fold{self.fold}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is done for it, in order."""
        if self.planned.raters:
            trained = f"{self.model[0]}-seed{self.seed}-{self.minutes:g}min"
            return (Step("raters.py", f"raters-{self.planned.data}-fold{self.fold}-{trained}"),)
        if self.model == NNUNET:
            return (Step("nnunet.py", f"accuracy-{self.label}"),)
        steps = [Step("accuracy.py", f"accuracy-{self.label}")]
        if self.planned.data != "sunnybrook":  # one subject a fold cannot be halved
            steps.append(Step("calibration.py", f"calibration-{self.label}"))
        if self.seed == 0 and self.fold in (None, 0) and self.model in (OURS, CONTROL):
            plain = ("--harmonize", "false")
            steps.append(Step("robustness.py", f"robustness-{self.label}"))
            steps.append(Step("robustness.py", f"robustness-{self.label}-as_they_are", plain))
        return tuple(steps)

    @property
    def hours(self) -> float:
        """Estimate of its CPU hours, scores and all."""
        scoring = _NNUNET_HOURS if self.model == NNUNET else self.planned.cost_hours
        return self.minutes / 60 * _TRAINING_OVERHEAD + scoring

    def command(self, step: Step, arguments: argparse.Namespace) -> list[str]:
        """Return the command of one of its steps."""
        model, preset = self.model
        words = [sys.executable, str(HERE / step.script)]
        words += [self.planned.data] if self.planned.raters else ["--data", self.planned.data]
        words += ["--data-root", str(arguments.data_root), "--work", str(arguments.work)]
        words += ["--minutes", f"{self.minutes:g}", "--seed", str(self.seed)]
        if self.model == NNUNET:
            return [*words, "--nnunet", str(arguments.nnunet)]
        words += ["--model", model, *([] if self.planned.raters else ["--preset", preset])]
        words += [] if self.fold is None else ["--fold", str(self.fold)]
        return [*words, *step.arguments]


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for; 1 where a step failed."""
    arguments = parse(argv)
    trainings = [one for one in planned(arguments.minutes_factor) if wanted(one, arguments.only)]

    def same(commit: str) -> bool:
        return same_code(commit, arguments.commit)

    results = store.read_results(arguments.results)
    if arguments.list:
        print(listing(trainings, results, same))
        return 0
    if arguments.prune:
        for name in replaced(trainings, results):
            print(f"removed: {name}")
            store.remove_result(arguments.results, name)
        return 0
    if arguments.take is not None:
        for name in taken(trainings, arguments.take, arguments.results):
            print(f"taken: {name}")
        return 0
    if arguments.data_root is None or arguments.work is None:
        raise SystemExit("figures.py: give --data-root and --work, --take, or --list")
    todo = [(one, missing(one, results, arguments.again, same)) for one in trainings]
    todo = [(one, steps) for one, steps in todo if steps]
    todo.sort(key=lambda job: job[0].model not in (OURS, CONTROL))  # most tables are of these
    with ThreadPoolExecutor(arguments.parallel) as pool:
        done = list(pool.map(lambda job: run(*job, arguments), todo))
    subprocess.run([sys.executable, str(HERE / "summary.py")], check=True)
    failed = [one.label for (one, _), fine in zip(todo, done, strict=True) if not fine]
    print(f"{len(done) - len(failed)} trainings done, {len(failed)} failed{': ' if failed else ''}", *failed)
    return 1 if failed else 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--list", action="store_true", help="what is there and what is missing; runs nothing")
    parser.add_argument("--prune", action="store_true", help="remove stand-ins that the plan has replaced")
    parser.add_argument("--take", type=Path, metavar="FOLDER", help="take the plan's results from there")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--work", type=Path, help="where runs are kept")
    parser.add_argument("--nnunet", type=Path, help="its virtual environment; without one it is left out")
    parser.add_argument("--only", nargs="+", metavar="PATTERN", default=["*"], help="of the names in --list")
    parser.add_argument("--minutes-factor", type=float, default=1.0, help="times all budgets, to try it")
    parser.add_argument("--parallel", type=int, default=1, help="trainings at once")
    parser.add_argument("--commit", default="HEAD", help="whose code rows are compared with")
    parser.add_argument("--again", action="store_true", help="what is of other code too; removes its runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder that is looked at")
    return parser.parse_args(argv)


def planned(minutes_factor: float = 1.0) -> list[Training]:
    """Return all trainings of the plan, those of a set together."""
    found: list[Training] = []
    for chosen in PLAN:
        minutes = chosen.minutes * minutes_factor
        found += [
            Training(chosen, model, seed, minutes, fold)
            for seed in chosen.seeds
            for model in (MODELS if seed == chosen.seeds[0] else (OURS, CONTROL))
            if not (chosen.raters and model[1] != "default")
            for fold in chosen.folds
        ]
        found += [Training(chosen, NNUNET, 0, one * minutes_factor) for one in chosen.nnunet_minutes]
    return found


def wanted(training: Training, patterns: list[str]) -> bool:
    """Return whether a training's name is like one of the patterns."""
    return any(fnmatch(training.label, pattern) for pattern in patterns)


def state(step: Step, training: Training, results: Mapping[str, Any], same: Callable[[str], bool]) -> State:
    """Return what is known of a step: `same` tells whether a commit has the code of the present one."""
    found = results.get(step.result)
    if found is not None:
        return "there" if same(found["commit"]) else "of other code"
    return "stand-in" if list(stand_ins(step, training, results)) else "missing"


def stand_ins(step: Step, training: Training, results: Mapping[str, Any]) -> Iterator[str]:
    """Give the names of results of the same model, set and seed with a budget that is not of the plan."""
    model, preset = training.model
    identity = (step.result.partition("-")[0], training.planned.data, model, preset, training.seed)
    of_the_plan = training.planned.nnunet_minutes if training.model == NNUNET else (training.minutes,)
    plain = step.result.endswith("-as_they_are")
    for name, result in results.items():
        alike = tuple(result.get(key) for key in _IDENTITY) == identity
        other = result.get("budget_minutes") not in of_the_plan
        if alike and other and name.endswith("-as_they_are") == plain:
            yield name


def missing(
    training: Training, results: Mapping[str, Any], again: bool, same: Callable[[str], bool]
) -> list[Step]:
    """Return the steps that are to be done; with `again` all of a training that is of other code."""
    states = {step: state(step, training, results, same) for step in training.steps}
    if again and "of other code" in states.values():
        return list(training.steps)
    return [step for step, known in states.items() if known in ("stand-in", "missing")]


def replaced(trainings: list[Training], results: Mapping[str, Any]) -> list[str]:
    """Return the names of stand-ins whose place in the plan is filled: by all folds of a cross-validation."""
    jobs = [(one, step, (one.planned.data, one.model, one.seed)) for one in trainings for step in one.steps]
    unfilled = {group for _, step, group in jobs if step.result not in results}
    filled = ((one, step) for one, step, group in jobs if group not in unfilled)
    return sorted({name for one, step in filled for name in stand_ins(step, one, results)})


def taken(trainings: list[Training], source: Path, target: Path) -> list[str]:
    """Store those results of the trainings that another folder has, with their cases; return their names."""
    found, known = store.read_results(source), store.read_results(target)
    names = [step.result for one in trainings for step in one.steps if step.result in found]
    changed = [name for name in names if found[name] != known.get(name)]
    for name in changed:
        store.write_result(target, name, found[name])
    return changed


def listing(trainings: list[Training], results: Mapping[str, Any], same: Callable[[str], bool]) -> str:
    """Return a table of all steps with their state, and the hours that are missing."""
    rows: list[tuple[str, ...]] = []
    hours = dict.fromkeys(("there", "of other code", "stand-in", "missing"), 0.0)
    for one in trainings:
        states = [state(step, one, results, same) for step in one.steps]
        hours[states[0]] += one.hours
        for number, (step, known) in enumerate(zip(one.steps, states, strict=True)):
            commit = results[step.result]["commit"] if step.result in results else ""
            others = ", ".join(sorted(stand_ins(step, one, results))) if known == "stand-in" else commit
            cost = f"{one.hours:.1f}" if number == 0 else ""
            rows.append((one.label, step.script.removesuffix(".py"), known, others, cost))
    totals = ", ".join(f"{known} {spent:.0f}" for known, spent in hours.items())
    listed = table(("training", "step", "state", "commit, or stand-in", "CPU hours"), rows)
    return f"{listed}\n\nCPU hours, estimated: {totals}"


def run(training: Training, steps: list[Step], arguments: argparse.Namespace) -> bool:
    """Do the steps of a training, each in a process of one thread; false where one failed."""
    if training.model == NNUNET and arguments.nnunet is None:
        print(f"{training.label}: left out, for there is no --nnunet", flush=True)
        return True
    if arguments.again and len(steps) == len(training.steps):
        shutil.rmtree(arguments.work / steps[0].result, ignore_errors=True)
    for step in steps:
        print(f"{training.label}: {step.script}", flush=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(training.command(step, arguments), env=environment, check=False)
        if ended.returncode != 0:
            print(f"{training.label}: {step.script} ended with {ended.returncode}", flush=True)
            return False
    return True


def same_code(commit: str, wanted: str) -> bool:
    """Return whether what a score depends on is the same in a commit and in the wanted one; it is not where
    the commit had changes of its own."""
    if "+" in commit:
        return False
    codes = [_code_of(one) for one in (*commit.split(", "), wanted)]
    return len(set(codes)) == 1


@cache
def _code_of(commit: str) -> tuple[str, ...]:
    """Return the lines that tell the packages of a commit, without those that change no score; the commit
    itself where it is unknown here."""
    listed = subprocess.run(
        ["git", "ls-tree", f"{commit}:src/ldseg"],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = listed.stdout.splitlines()
    return tuple(line for line in lines if line.split("\t")[1] not in CHANGE_NO_SCORE) or (commit,)


if __name__ == "__main__":
    sys.exit(main())
