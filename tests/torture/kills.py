"""kill -9 at random moments of trainings and predictions, and whether the end is what it would have been.

    python kills.py WORK KILLS SEED      one line of JSON

A process of its own, because it forks: each sitting starts with everything imported.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pictures import CONTINUED, FOLDS, TRAININGS, predict_words, write_sets
from sittings import Sitting, sit

import ldseg.inference.predict_cases
import ldseg.training.trainer  # noqa: F401  imported before the forks
from ldseg.data.formats import read_volume
from ldseg.inference.provenance_journal import JOURNAL
from ldseg.inference.provenance_journal import read_records as read_provenance
from ldseg.training.log_files import read_records

_BIT_EQUAL = (
    "model.safetensors",
    "best/model.safetensors",
    "settings.json",
    "plan.json",
    "splits.json",
    "card.md",
)
_BY_COMMAND = 10
"""Every so many trainings' kills are of a process started from the command line."""


def torture(work: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill trainings so many times, and predictions a fifth of that; figures and faults."""
    write_sets(work)
    rng, faults = random.Random(seed), []
    figures: dict[str, Any] = {
        "training_kills": 0,
        "trainings_ended": 0,
        "by_command": 0,
        "prediction_kills": 0,
    }
    quota = -(-kills // len(TRAININGS))
    for number, (name, (data, words)) in enumerate(TRAININGS.items()):
        place = work / f"training{number}"
        whole = sit(["train", str(work / data), "-o", str(place / "whole"), *words])
        if whole.code:
            faults.append(f"{name}: the training itself ends with {whole.code}: {whole.errors[-1:]}")
            continue
        done, wanted = 0, min(quota, kills - figures["training_kills"])
        while done < wanted:
            run = place / f"run{figures['trainings_ended']}"
            done += _one_training(work / data, run, words, whole.seconds, wanted - done, rng, figures, faults)
            faults += [f"{name}: {fault}" for fault in differences(place / "whole", run)]
            figures["trainings_ended"] += 1
        figures["training_kills"] += done
    figures["training_kills"] += _folds_and_continuations(work, -(-kills // 5), rng, figures, faults)
    model = work / "training0" / "whole"
    figures["prediction_kills"] = _predictions(work, model, -(-kills // 5), rng, faults)
    return {**figures, "faults": faults}


def _one_training(
    data: Path,
    run: Path,
    words: Sequence[str],
    usual: float,
    most: int,
    rng: random.Random,
    figures: dict[str, Any],
    faults: list[str],
    begun: Callable[[Path], bool] = lambda run: (run / "settings.json").is_file(),
) -> int:
    """Kill and resume until it ends by itself or was killed `most` times; returns the kills."""
    kills = 0
    while True:
        command = ["train", str(data), "-o", str(run), *(["--resume"] if begun(run) else words)]
        delay = rng.uniform(0.0, usual) if kills < most else None
        if delay is not None and (kills + 1) % _BY_COMMAND == 0:
            ended = by_command(command, delay)
            figures["by_command"] += ended.code == -signal.SIGKILL
        else:
            ended = sit(command, delay)
        if ended.code == 0:
            return kills
        if ended.code != -signal.SIGKILL:
            faults.append(f"resumed, it ends with {ended.code}: {ended.errors[-1:]}")
            return max(kills, most)
        kills += 1


def _folds_and_continuations(
    work: Path, kills: int, rng: random.Random, figures: dict[str, Any], faults: list[str]
) -> int:
    """Kill the folds of a cross-validation, then the same folds while they go on for longer on more data."""
    place, done, number = work / "folds", 0, 0
    stages = ((FOLDS, _folds_begun), (CONTINUED, _continuation_begun))
    while done < kills:
        data, whole, run = (place / f"{name}{number}" for name in ("data", "whole", "run"))
        shutil.copytree(work / "pictures", data)
        for words, begun in stages:
            at_once = sit(["train", str(data), "-o", str(whole), *words])
            if at_once.code:
                faults.append(f"folds: the training itself ends with {at_once.code}: {at_once.errors[-1:]}")
                return done
            most = -(-(kills - done) // 2) if begun is _folds_begun else kills - done
            done += _one_training(data, run, words, at_once.seconds, most, rng, figures, faults, begun)
            for fold in ("fold_0", "fold_1"):
                faults += [f"{fold}: {fault}" for fault in differences(whole / fold, run / fold)]
            for folder in ("images", "masks"):  # what the continuation finds
                shutil.copy(data / folder / "p0.png", data / folder / "p9.png")
        number += 1
    return done


def _folds_begun(run: Path) -> bool:
    return (run / "fold_0" / "settings.json").is_file()


def _continuation_begun(run: Path) -> bool:
    records = read_records(run / "fold_1")
    return (run / "continue.json").is_file() or any(one["event"] == "continued" for one in records)


def by_command(command: Sequence[str], delay: float) -> Sitting:
    """As a user starts it; the imports take some of the delay, so it gets more."""
    words = [sys.executable, "-m", "ldseg.app.cli.main", *command]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        said = process.communicate(timeout=delay + 4)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        said = process.communicate()[1]
    return Sitting(process.returncode, tuple(said.splitlines()), delay)


def differences(whole: Path, parts: Path) -> list[str]:
    """What of a training's end is not as without kills."""
    found = [
        f"{name} differs" for name in _BIT_EQUAL if (whole / name).read_bytes() != (parts / name).read_bytes()
    ]
    first, second = ([_timeless(r) for r in read_records(run)] for run in (whole, parts))
    if first != second:
        found.append("the log differs")
    left = [path.name for path in parts.rglob(".*")]
    return found + [f"{name} is left" for name in left]


def _timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "seconds"}


def _predictions(work: Path, model: Path, kills: int, rng: random.Random, faults: list[str]) -> int:
    """Kill predictions of a folder; what is visible of their results is whole."""
    words = predict_words(work, model, "labels,uncertainty")
    whole = sit([*words, str(work / "predicted")])
    wanted = contents(work / "predicted")
    done = 0
    for number in range(20 * kills):
        if done >= kills:
            break
        out = work / f"predicted{number}"
        for _ in range(3):
            done += sit([*words, str(out)], rng.uniform(0, whole.seconds)).code == -signal.SIGKILL
            faults += [f"prediction: {name} is not whole" for name in strange(contents(out), wanted)]
            unknown = {path.name for path in out.glob("[!.]*_uncertainty.*")} - recorded(out)
            faults += [f"prediction: nothing says what made {name}" for name in sorted(unknown)]
        if sit([*words, str(out)]).code or contents(out) != wanted or (out / JOURNAL).exists():
            faults.append("prediction: begun again it gives something else")
    return done


def contents(folder: Path) -> dict[str, str]:
    """Visible file to a digest of what it holds; prediction.json and its journal hold times and differ."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*")):
        if path.name.startswith((".", "prediction.json")):
            continue
        try:
            voxels = (
                path.read_bytes() if path.suffix == ".json" else read_volume(path, "image").array.tobytes()
            )
        except ValueError as problem:
            voxels = str(problem).encode()
        found[path.name] = hashlib.sha256(voxels).hexdigest()
    return found


def recorded(folder: Path) -> set[str]:
    """The files of a folder of predictions whose origin is recorded."""
    return {file for one in read_provenance(folder).cases.values() for file in one.files}


def strange(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Files that are not as they should be."""
    return [name for name, digest in found.items() if wanted.get(name) != digest]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(torture(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))) + "\n")
