"""A process that takes inputs by name and number from stdin, and answers with a line of JSON each.

    python worker.py MODELS WORK

It imports everything once, and may not grow beyond `MEMORY_GB` of addresses after that.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import sys
from pathlib import Path

from attempts import MEMORY_GB, attempt_all
from inputs import make_input


def serve(models: Path, work: Path) -> None:
    """Until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for name in ("nifti", "png", "dicom"):  # imports what they need
        _try(name, 10**6, models, work)
    _bound_memory()
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        name, number = line.split()
        answers.write(json.dumps(_try(name, int(number), models, work)) + "\n")
        answers.flush()


def _try(name: str, number: int, models: Path, work: Path) -> list[dict[str, object]]:
    folder = work / f"{name}-{number}"
    folder.mkdir()
    try:
        given = make_input(name, number, folder / "data", models)
        outcomes = attempt_all(given, folder / "out")
        return [outcome.as_dict() for outcome in outcomes]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bound_memory() -> None:
    """Like `ulimit -v`: what would take more fails instead of taking the machine down."""
    status = Path("/proc/self/status").read_text()
    now = int(re.findall(r"VmSize:\s+(\d+)", status)[0]) * 1024
    limit = now + int(MEMORY_GB * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
