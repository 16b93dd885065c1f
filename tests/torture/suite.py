"""The whole suite: damaged inputs, kills, full disks, orientations."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import places
from inputs import FOLDERS
from models import make_models
from pool import environment, run_jobs
from sound_files import KINDS

_HERE = Path(__file__).parent
Tell = Callable[[str], None]


def run(
    work: Path, inputs: int, kills: int, disks: int, seed: int, workers: int, tell: Tell
) -> dict[str, Any]:
    """So many inputs of each kind, kills of trainings and full disks; `work` is an empty folder.

    `tell` gets a line for every fault and for every part that is through. The result has the figures by
    part, and all faults.
    """
    models = work / "models"
    make_models(models)
    damaged = damage(models, work / "inputs", range(inputs), workers, tell)
    faults = damaged.pop("faults")
    others: dict[str, Callable[[], dict[str, Any]]] = {
        "orientations": lambda: places.torture(models / "zyx", work / "places"),
        "full disks": lambda: _process("full_disks.py", work / "disks", disks, seed),
        "kills": lambda: _process("kills.py", work / "kills", kills, seed),
    }
    parts: dict[str, Any] = {}
    for name, work_on in others.items():
        parts[name] = work_on()
        found = [f"{name}: {fault}" for fault in parts[name].pop("faults")]
        faults += found
        tell("\n".join([f"{name}: {parts[name]}", *found]))
    return {"inputs": damaged, **parts, "faults": faults}


def damage(models: Path, work: Path, numbers: Sequence[int], workers: int, tell: Tell) -> dict[str, Any]:
    """The inputs of these numbers of every kind: figures by kind, and the faults."""
    kinds = (*KINDS, *FOLDERS)
    figures: dict[str, Any] = {}
    faults: list[str] = []

    def add(outcomes: list[dict[str, Any]]) -> None:
        mine = figures.setdefault(outcomes[0]["kind"], {"tried": 0, "refused": 0, "accepted": 0, "faults": 0})
        codes = {outcome["code"] for outcome in outcomes}
        mine["tried"] += 1
        mine["refused"] += 2 in codes
        mine["accepted"] += codes == {0}
        for name in ("cpu_s", "peak_gb"):
            mine[name] = round(max(mine.get(name, 0.0), *(outcome[name] for outcome in outcomes)), 2)
        found = [_line(outcome) for outcome in outcomes if outcome["fault"]]
        mine["faults"] += bool(found)
        faults.extend(found)
        for line in found:
            tell(line)
        if mine["tried"] == len(numbers):
            tell(f"{outcomes[0]['kind']}: {mine}")

    run_jobs([(kind, number) for kind in kinds for number in numbers], models, work, workers, add)
    return {"kinds": figures, "faults": faults}


def _line(outcome: dict[str, Any]) -> str:
    place = f"{outcome['kind']} {outcome['number']} ({outcome['damage']})"
    return f"{place}, {outcome['command']}: {outcome['fault']}"


def _process(script: str, work: Path, times: int, seed: int) -> dict[str, Any]:
    """What a script of the suite answers."""
    words = [sys.executable, str(_HERE / script), str(work), str(times), str(seed)]
    done = subprocess.run(words, stdout=subprocess.PIPE, env=environment(), text=True, check=False)
    if done.returncode:
        return {"faults": [f"{script} ends with {done.returncode}"]}
    return json.loads(done.stdout.splitlines()[-1])
