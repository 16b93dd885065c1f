"""One JSON file a run under results/, and how it is filled."""

from __future__ import annotations

import json
import resource
import subprocess
from pathlib import Path
from typing import Any

import torch

from ldseg.utils.serialization import write_bytes_atomic
from ldseg.utils.system import keep_freed_memory

RESULTS = Path(__file__).parent / "results"


def commit() -> str:
    """Return the measured commit, with "+" appended when the code differs from it."""
    here = Path(__file__).parent
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
    ).stdout.strip()
    code = ["../src", ":!../src/ldseg/zoo/models"]
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *code], cwd=here, check=False)
    return head + ("+" if changed.returncode else "")


def as_a_command(threads: int) -> None:
    """Let this process work as one of ldseg's commands, on so many threads."""
    torch.set_num_threads(threads)
    keep_freed_memory()


def peak_memory_gb() -> float:
    """Largest resident size of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 3)


def write_result(name: str, result: dict[str, Any]) -> Path:
    """results/NAME.json, whole."""
    path = RESULTS / f"{name}.json"
    write_bytes_atomic(path, (json.dumps(result, indent=1) + "\n").encode())
    return path
