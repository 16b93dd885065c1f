"""Disks that are full after so many bytes, in trainings and predictions: one line, and what was saved stays.

python full_disks.py WORK TIMES SEED      one line of JSON
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

from attempts import judge
from kills import contents, differences, strange
from pictures import TRAININGS, predict_words, write_sets
from sittings import Sitting, sit

import ldseg.inference.predict_cases
import ldseg.training.trainer  # noqa: F401  imported before the forks
from ldseg.runs.files import STATE_FILE


def torture(work: Path, times: int, seed: int) -> dict[str, Any]:
    """So many trainings and predictions on full disks; figures and faults."""
    write_sets(work)
    rng, faults = random.Random(seed), []
    data, words = TRAININGS["2D"]
    command = ["train", str(work / data), "-o"]
    whole = work / "whole"
    ended = sit([*command, str(whole), *words])
    if ended.code:
        return {
            "times": 0,
            "refused": 0,
            "faults": [f"the training itself ends with {ended.code}: {ended.errors[-1:]}"],
        }
    largest = (whole / STATE_FILE).stat().st_size
    refused = 0
    for number in range(times):
        size = int(largest ** rng.uniform(0.2, 1.0))
        run = work / f"run{number}"
        sitting = sit([*command, str(run), *words], file_size=size)
        refused += sitting.code == 2
        faults += [f"a training: {fault}" for fault in wrong(sitting)]
        if number % 4 == 0:
            begun = (run / "settings.json").is_file()
            sit([*command, str(run), *(["--resume"] if begun else words)])
            faults += [f"after a full disk: {fault}" for fault in differences(whole, run)]
        shutil.rmtree(run, ignore_errors=True)
    refused += _resumed(work, command, whole, times, rng, faults)
    refused += _predicted(work, whole, times, rng, faults)
    return {"times": 3 * times, "refused": refused, "faults": faults}


def wrong(sitting: Sitting) -> list[str]:
    """What is wrong with how a sitting ended."""
    lines = [line for line in sitting.errors if line.startswith("ldseg: error") or "Traceback" in line]
    said = judge(sitting.code, lines, 0.0, 0.0)
    return [said] if said else []


def _resumed(
    work: Path, command: list[str], whole: Path, times: int, rng: random.Random, faults: list[str]
) -> int:
    """A training with a state, resumed on a full disk: the state stays, and goes on elsewhere."""
    run, refused = work / "resumed", 0
    words, patience = TRAININGS["2D"][1], 1.0
    while not (run / STATE_FILE).is_file():
        sit([*command, str(run), *(["--resume"] if (run / "settings.json").is_file() else words)], patience)
        patience *= 1.5
    kept = (run / STATE_FILE).read_bytes()
    for _ in range(times):
        sitting = sit([*command, str(run), "--resume"], file_size=int(len(kept) * rng.uniform(0.01, 0.9)))
        refused += sitting.code == 2
        faults += [f"a resumed training: {fault}" for fault in wrong(sitting)]
        if (run / STATE_FILE).read_bytes() != kept:
            faults.append("a resumed training: the state is another")
            break
    sit([*command, str(run), "--resume"])
    faults += [f"after full disks: {fault}" for fault in differences(whole, run)]
    return refused


def _predicted(work: Path, model: Path, times: int, rng: random.Random, faults: list[str]) -> int:
    words = predict_words(work, model, "labels,probabilities")
    sit([*words, str(work / "predicted")])
    wanted = contents(work / "predicted")
    largest = max(path.stat().st_size for path in (work / "predicted").iterdir())
    refused = 0
    for number in range(times):
        out = work / f"predicted{number}"
        sitting = sit([*words, str(out)], file_size=int(largest * rng.uniform(0.0, 1.0)))
        refused += sitting.code == 2
        faults += [f"a prediction: {fault}" for fault in wrong(sitting)]
        faults += [f"a prediction: {name} is not whole" for name in strange(contents(out), wanted)]
        faults += [f"a prediction: {path.name} is left" for path in out.glob(".*")]
    return refused


if __name__ == "__main__":
    sys.stdout.write(json.dumps(torture(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))) + "\n")
