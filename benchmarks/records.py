"""What every benchmark does: work as a command of ldseg, name the commit, store the result."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path
from typing import Any

import torch

import store
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
    """Store a result under its name and return its file; how, says `store`."""
    return store.write_result(RESULTS, name, result)


def read_result(name: str) -> dict[str, Any]:
    """Return a stored result, whole. Raises KeyError where there is none."""
    return store.read_result(RESULTS, name)
