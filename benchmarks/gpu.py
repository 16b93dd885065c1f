"""Everything about a GPU by one command: does it work, how fast is it, how good are some minutes?

    python benchmarks/gpu.py --data-root DATA --work WORK --out FOLDER --parts works compiled speed graphs
    python benchmarks/gpu.py --data-root DATA --work WORK --out FOLDER --parts quality --beside "COMMAND"

The parts run one after another, each with a time limit, and add lines to FOLDER/NAME.jsonl as they go, so
that whatever ends the run, what was found is there. `quality` trains all its models at once on the one card,
and `--beside` names further commands to run next to them. FOLDER/log.txt has what the parts print, and after
each part FOLDER/gpu.json is made of all lines.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import torch

from gpu_journal import read_journal
from gpu_speed import KINDS
from gpu_workloads import find_workloads

HERE = Path(__file__).parent
LIMITS = {"works": 180.0, "compiled": 40.0, "speed": 120.0, "graphs": 45.0, "quality": 420.0}
"""Seconds of each part at most."""
COMPILED = ("default:0", "default:2", "unet:2", "dynunet:2")
"""Networks and numbers of workloads that are compiled, all at once, and then timed one by one."""
TRAININGS = (
    "hippocampus:ldseg:4:cuda-graphs",
    "hippocampus:unet:4:cuda-graphs",
    "usgra:ldseg:2:cuda-graphs",
    "usgra:unet:2:cuda-graphs",
    "hippocampus:ldseg:4",
    "usgra:ldseg:2",
)
"""Data, model and minutes, most with steps by CUDA graph."""


@dataclass(frozen=True)
class Compiling:
    """Steps that are being compiled, each in a process that waits for its turn."""

    gate: Path
    """Folder in which they say that they are ready, and are told to go."""
    labels: dict[str, subprocess.Popen[str]]

    def waiting(self) -> list[str]:
        """Return those that are not ready yet and may still be."""
        ready = {path.name.removeprefix("ready-") for path in self.gate.glob("ready-*")}
        return [label for label, one in self.labels.items() if label not in ready and one.poll() is None]


@dataclass
class Run:
    """Where a run writes, and what all its parts are told."""

    arguments: argparse.Namespace
    log: IO[str]
    compiling: Compiling | None = None
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, script: str, name: str, *words: str) -> subprocess.Popen[str]:
        """Start a script of a part, which writes FOLDER/NAME.jsonl."""
        given = self.arguments
        out = given.out / f"{name}.jsonl"
        common = ["--device", given.device, "--work", str(given.work), "--out", str(out)]
        if given.data_root:
            common += ["--data-root", str(given.data_root)]
        if given.tiny:
            common.append("--tiny")
        return self.start_command([sys.executable, "-u", str(HERE / script), *common, *words])

    def start_command(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, so that it can be ended with all that it started."""
        process = subprocess.Popen(
            command, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True, text=True
        )
        self.started.append(process)
        return process


def main() -> None:
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    arguments.work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (arguments.out / "log.txt").open("a") as log:
        run = Run(arguments, log)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            run_parts(run, started)
        finally:
            wait(run.started, 0)
            collect(arguments, time.monotonic() - started)
    show(arguments.out)


def run_parts(run: Run, started: float) -> None:
    """Run the parts that are asked for, in this order."""
    arguments = run.arguments
    if ("works", "compiled") in pairwise(arguments.parts):  # no clock may run beside it
        run.compiling = start_compiling(run)
    for part in arguments.parts:
        limit, begun = LIMITS[part] * arguments.patience, time.monotonic()
        PARTS[part](run, begun + limit)
        print(f"{part}: {time.monotonic() - begun:.0f} s of at most {limit:.0f}", flush=True)
        collect(arguments, time.monotonic() - started)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the code on a CPU")
    parser.add_argument("--parts", nargs="+", choices=tuple(LIMITS), default=list(LIMITS))
    parser.add_argument("--patience", type=float, default=1.0, help="factor of all time limits")
    parser.add_argument("--minutes", type=float, default=1.0, help="factor of the minutes of all trainings")
    trainings = "DATA:MODEL:MINUTES[:cuda-graphs] each; nnunet is a model too, see gpu_nnunet.py"
    parser.add_argument("--trainings", nargs="+", default=TRAININGS, help=trainings)
    parser.add_argument("--workers", type=int, default=3, help="of the data loader of each training")
    parser.add_argument("--speeds", nargs="+", choices=KINDS, default=KINDS, help="of the part speed")
    parser.add_argument("--beside", nargs="+", default=[], help="commands to run beside the trainings")
    parser.add_argument("--commit", default="unknown", help="of the code, where git is not there to be asked")
    return parser.parse_args()


def run_script(run: Run, until: float, script: str, name: str, *words: str) -> None:
    """Run a script to its end or to the limit."""
    wait([run.start(script, name, *words)], until)


def wait(processes: list[subprocess.Popen[str]], until: float) -> None:
    """Wait for all, and end those that are not done in time with their process groups."""
    while time.monotonic() < until and any(one.poll() is None for one in processes):
        time.sleep(0.1)
    for one in processes:
        if one.poll() is None:
            print(f"ended at its time limit: {shlex.join(map(str, one.args))[:160]}", flush=True)
            os.killpg(one.pid, signal.SIGKILL)
            one.wait()


def works(run: Run, until: float) -> None:
    run_script(run, until, "gpu_works.py", "works")


def speed(run: Run, until: float) -> None:
    run_script(
        run, until, "gpu_speed.py", "speed", "--seconds", seconds(run), "--only", *run.arguments.speeds
    )


def graphs(run: Run, until: float) -> None:
    run_script(run, until, "gpu_speed.py", "graphs", "--graphs", "--seconds", seconds(run))


def seconds(run: Run) -> str:
    """Return the seconds of one timing."""
    return "0.1" if run.arguments.tiny else "0.7"


def start_compiling(run: Run) -> Compiling:
    """Let steps be compiled, all beside each other and beside what needs no clock."""
    workloads, gate = find_workloads(run.arguments.tiny), run.arguments.work / f"gate-{os.getpid()}"
    gate.mkdir()
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "3")
    labels: dict[str, subprocess.Popen[str]] = {}
    for pair in COMPILED[:1] if run.arguments.tiny else COMPILED:
        network, number = pair.split(":")
        name = workloads[int(number)].name
        words = ("--compiled", f"{network}:{name}", "--gate", str(gate), "--seconds", seconds(run))
        labels[f"{network}-{name}"] = run.start("gpu_speed.py", "compiled", *words)
    return Compiling(gate, labels)


def compiled(run: Run, until: float) -> None:
    """Measure compiled steps one at a time: nothing else is at work on the card."""
    compiling = run.compiling or start_compiling(run)
    measuring = 5.0 * len(compiling.labels)  # seconds for measuring at the end
    while time.monotonic() < until - measuring and compiling.waiting():
        time.sleep(0.1)
    for label in compiling.waiting():
        print(f"not compiled in time: {label}", flush=True)
        wait([compiling.labels.pop(label)], 0)
    for label, process in compiling.labels.items():
        (compiling.gate / f"go-{label}").touch()
        done = compiling.gate / f"done-{label}"
        while time.monotonic() < until and not done.exists() and process.poll() is None:
            time.sleep(0.02)
        wait([process], time.monotonic() + 1)


def quality(run: Run, until: float) -> None:
    """Train and score all models at once."""
    given = run.arguments
    processes = [run.start_command(shlex.split(command)) for command in given.beside]
    for training in given.trainings:
        data, model, minutes, *way = training.split(":")
        words = ["--data", data, "--model", model, "--minutes", f"{float(minutes) * given.minutes:g}"]
        words += ["--workers", str(given.workers), *(f"--{one}" for one in way)]
        script = "gpu_nnunet.py" if model == "nnunet" else "gpu_quality.py"
        processes.append(run.start(script, "quality", *words))
    wait(processes, until)


PARTS = {"works": works, "speed": speed, "graphs": graphs, "compiled": compiled, "quality": quality}


def collect(arguments: argparse.Namespace, spent: float) -> None:
    """Write FOLDER/gpu.json from the lines of all parts."""
    records: list[dict[str, Any]] = []
    for path in sorted(arguments.out.glob("*.jsonl")):
        records += read_journal(path)
    whole = {
        "benchmark": "gpu",
        "commit": arguments.commit,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "seconds": round(spent),
        "lines": records,
    }
    (arguments.out / "gpu.json").write_text(json.dumps(whole, indent=1) + "\n")


def show(folder: Path) -> None:
    """Print one line a record."""
    for path in sorted(folder.glob("*.jsonl")):
        for one in read_journal(path):
            kept = {k: v for k, v in one.items() if isinstance(v, bool | int | float | str) and k != "at_s"}
            print(" ".join(f"{k}={v}" for k, v in kept.items())[:260])


if __name__ == "__main__":
    main()
