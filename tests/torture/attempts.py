"""The commands on an input, inside this process, and what is allowed to come of it."""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hostile_folders import MARK
from inputs import Input

from ldseg.app.cli.main import main
from ldseg.data.formats import read_volume

CPU_SECONDS = 20.0
"""Most that one command may take."""
MEMORY_GB = 3.0
"""Largest resident size of the process, the program included."""
_PROGRESS = re.compile(r"^(reading|predicting|training): +\d+%")
_ALWAYS_THERE = {"plan.json", "prediction.json"}


@dataclass(frozen=True)
class Outcome:
    """What came of one command."""

    kind: str
    number: int
    damage: str
    command: str
    code: int
    """Its exit code; 1 where it left with a traceback."""
    lines: tuple[str, ...]
    """What it wrote to stderr but for its progress."""
    cpu_s: float
    peak_gb: float
    fault: str
    """What must not have happened; empty where all is well."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def attempt_all(given: Input, out: Path) -> list[Outcome]:
    """Check the set that the input is in, unless that is sound, and predict the input."""
    checked = [] if given.kind == "model" else [_attempt(given, "check", [str(given.root)])]
    predicted = _attempt(given, "predict", [str(given.target), "-m", str(given.model), "-o", str(out)])
    left = _left_behind(out, predicted.code, given)
    if left and not predicted.fault:
        predicted = Outcome(**{**predicted.as_dict(), "fault": left})
    return [*checked, predicted]


def _attempt(given: Input, command: str, words: Sequence[str]) -> Outcome:
    forget_peak()
    started = time.process_time()
    code, said = run_quietly([command, *words])
    spent, peak = time.process_time() - started, peak_gb()
    lines = tuple(line for line in said.splitlines() if not _PROGRESS.match(line))
    fault = judge(code, lines, spent, peak)
    return Outcome(given.kind, given.number, given.damage, command, code, lines[-3:], spent, peak, fault)


def judge(code: int, lines: Sequence[str], cpu_s: float, peak: float) -> str:
    """What is wrong with an exit code, the lines on stderr, a time or a peak; empty for nothing."""
    if code not in (0, 2):
        return f"left with {code}: {lines[-1] if lines else 'nothing said'}"
    if code == 2 and (len(lines) != 1 or not lines[0].startswith("ldseg: error: ")):
        return f"{len(lines)} lines on stderr instead of one: {' / '.join(lines[:4])}"
    if cpu_s > CPU_SECONDS:
        return f"took {cpu_s:.1f} CPU seconds"
    if peak > MEMORY_GB:
        return f"took {peak:.2f} GB"
    return ""


def run_quietly(words: Sequence[str]) -> tuple[int, str]:
    """Exit code of the command and what it wrote to stderr, by whatever way."""
    sys.stderr.flush()
    sys.stdout.flush()
    kept = os.dup(1), os.dup(2)
    with open(os.devnull, "wb") as nowhere, open(f"/tmp/torture.{os.getpid()}", "w+b") as said:
        os.unlink(said.name)
        os.dup2(nowhere.fileno(), 1)
        os.dup2(said.fileno(), 2)
        try:
            code = _code_of(words)
        finally:
            sys.stderr.flush()
            sys.stdout.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])
        said.seek(0)
        return code, said.read().decode("utf-8", "replace")


def _code_of(words: Sequence[str]) -> int:
    try:
        return main(list(words))
    except SystemExit as left:
        return int(left.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1


def _left_behind(out: Path, code: int, given: Input) -> str:
    """What is in the folder of results and should not be, or the other way round."""
    if (given.model / MARK).exists():
        return "code of the model was run"
    if not out.exists():
        return "" if code == 2 else "no folder of results"
    found = sorted(path.name for path in out.iterdir() if path.name not in _ALWAYS_THERE)
    if code == 2 and (given.kind != "dicom" or any(name.startswith(".") for name in found)):
        return f"left {found[0]!r} behind" if found else ""
    if code == 2 and not found:
        return ""
    if given.kind == "tables":
        return ""
    if len({name.rpartition(".")[0] for name in found}) != 1:  # an MHD has its voxels beside it
        return f"left {found}"
    try:
        read_volume(out / found[0], "labels")
    except ValueError as problem:
        return f"its result cannot be read: {problem}"
    return ""


def forget_peak() -> None:
    """Begin to measure anew; where the system cannot, the peak is that of the process so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_gb() -> float:
    """Largest resident size since `forget_peak`."""
    try:
        text = Path("/proc/self/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) / 1e6
    except (OSError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
