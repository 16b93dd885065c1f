"""How many processor cores there are for this process."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores() -> int:
    """Cores that the system and its container leave to this process, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quota = _quota()
    return cores if quota is None else max(1, min(cores, round(quota)))


def _quota() -> float | None:
    """Cores that a container grants, None for no limit."""
    try:
        granted, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return None if granted == "max" else int(granted) / int(period)
