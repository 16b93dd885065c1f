"""What the system leaves to this process: processor cores, memory, and the memory that it keeps.

Memory that can be had is the least of what the machine has free, what a container may still take and what the
limits of the process (`ulimit -v`) leave.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from ldseg.errors import file_error

if sys.platform != "win32":
    import resource

_CGROUP = Path("/sys/fs/cgroup")
_IMAGE_BYTES = 4
"""Of a voxel as float32, which every image becomes."""


def require_memory(path: Path, voxels: int, stored: int) -> None:
    """Raise InputError when an image of so many `voxels` (all channels) cannot be held here.

    `stored` are the bytes that reading takes for one of them, besides the float32 that it becomes.
    """
    needed, free = voxels * (stored + _IMAGE_BYTES), free_bytes()
    if free is not None and needed > free:
        finding = (
            f"promises {voxels} voxels, which need {needed / 1e9:.1f} GB where {free / 1e9:.1f} GB are free"
        )
        raise file_error(path, finding, "if that is its true size, use a machine with more memory")


def free_bytes() -> int | None:
    """Memory that this process can still have; None where the system does not tell."""
    known = [size for size in (_machine(), _container(), _process()) if size is not None]
    return max(0, min(known)) if known else None


def _machine() -> int | None:
    return _line(Path("/proc/meminfo"), "MemAvailable:")


def _container() -> int | None:
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii")
        used = (_CGROUP / "memory.current").read_text(encoding="ascii")
        return int(limit) - int(used)  # "max" where there is no limit
    except (OSError, ValueError):
        return None


def _process() -> int | None:
    if sys.platform == "win32":
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    size = _line(Path("/proc/self/status"), "VmSize:")
    return None if limit == resource.RLIM_INFINITY or size is None else limit - size


def _line(path: Path, name: str) -> int | None:
    """Bytes in the line `name` of a file in kB."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(name)]
    return int(found[0]) * 1024 if found else None


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's malloc.h
_NEVER = -1


def keep_freed_memory() -> bool:
    """Let this process keep memory that it has freed until it ends; whether that was possible.

    It takes its peak as long as it lives, so this is for commands that end; a service that is to be small
    between predictions goes without. Only Linux with glibc knows it; elsewhere nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    # No block is mapped on its own, and what is free at the end of the heap is never given back.
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))


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
