"""Run `ldseg.app.doctor.probe` with a time limit and read its output, however it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from ldseg.app.doctor.environment import Section

STEPS = ("device", "convolution", "compile")
"""Steps in their order; each becomes a section of the report."""


def probe(seconds: float, module: str = "ldseg.app.doctor.probe") -> dict[str, Section]:
    """Return the steps' sections after at most about `seconds`; a step that was not reached says why.
    With 0 seconds no process is started."""
    if seconds == 0:
        return {step: {"not measured": "--seconds is 0"} for step in STEPS}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        # A cache of its own, so that compiling is measured and nothing stays behind.
        environment = os.environ | {
            "TORCHINDUCTOR_CACHE_DIR": str(Path(folder) / "inductor"),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        }
        ended = _run([sys.executable, "-m", module], environment, output, seconds)
        output.seek(0)
        found = _steps(output.read())
    for step in STEPS:
        found.setdefault(step, {"unknown": ended})
    return {step: found[step] for step in STEPS}


def _run(words: list[str], environment: dict[str, str], output: IO[str], seconds: float) -> str:
    """Run the process and return how it ended, as a message."""
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(
        words, env=environment, stdout=output, stderr=quiet, stdin=quiet, start_new_session=True
    )
    try:
        code = child.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"not reached within {seconds:g} s; give more with --seconds"
    finally:
        _kill(child)
    if code < 0:
        name = next((one.name for one in signal.Signals if one == -code), "unknown")
        return f"torch ended the process with signal {-code} ({name})"
    return f"torch ended the process with exit code {code}"


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the process with the compilers that it started."""
    if sys.platform != "win32":
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
    child.kill()
    child.wait()


def _steps(text: str) -> dict[str, Section]:
    """Return the sections in the complete lines of the output; a truncated line is left out."""
    found: dict[str, Section] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            found[entry["step"]] = entry["section"]
        except (ValueError, KeyError, TypeError):
            continue
    return found
