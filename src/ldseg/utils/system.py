"""Processor cores and memory that the system grants to this process, and its memory allocator.

The machine's figures come from psutil; the limits of a container (control group) and of `ulimit -v` are read
here, because psutil does not know them.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from importlib import import_module
from pathlib import Path

import psutil

from ldseg.errors import file_error

if sys.platform != "win32":
    import resource

_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # versions 2 and 1
_CGROUP_USED = ("memory.current", "memory/memory.usage_in_bytes")
_CGROUP_UNLIMITED = 1 << 60  # version 1 writes a number of this size for "no limit"
_FLOAT32_BYTES = 4


def require_memory(path: Path, voxels: int, bytes_per_voxel: int) -> None:
    """Raise InputError if an image of `voxels` voxels (all channels) does not fit in the available memory.

    `bytes_per_voxel` is what reading needs for one voxel, in addition to the float32 that it becomes.
    """
    needed, available = voxels * (bytes_per_voxel + _FLOAT32_BYTES), available_memory()
    if needed > available:
        finding = (
            f"promises {voxels} voxels, which need {needed / 1e9:.1f} GB "
            f"where {available / 1e9:.1f} GB are free"
        )
        raise file_error(path, finding, "if that is its true size, use a machine with more memory")


def total_memory() -> int:
    """Return the machine's physical memory in bytes."""
    return psutil.virtual_memory().total


def granted_memory() -> int:
    """Return the memory in bytes that the machine and the container grant to all processes together."""
    limit = container_memory_limit()
    return total_memory() if limit is None else min(limit, total_memory())


def available_memory() -> int:
    """Return the memory in bytes that this process can still get without swapping.

    The least of what the machine has available, what the container's limit leaves and what the limit on the
    address space (`ulimit -v`) leaves.
    """
    sizes = [psutil.virtual_memory().available]
    limit = container_memory_limit()
    if limit is not None:
        used = (_read_number(_CGROUP / name) for name in _CGROUP_USED)
        sizes.append(limit - next((number for number in used if number is not None), 0))
    if sys.platform != "win32":
        address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
        if address_space != resource.RLIM_INFINITY:
            sizes.append(address_space - psutil.Process().memory_info().vms)
    return max(0, min(sizes))


def resident_memory() -> int:
    """Return the memory in bytes that this process occupies now."""
    return psutil.Process().memory_info().rss


def container_memory_limit() -> int | None:
    """Return the memory in bytes that the container may use, None without a limit."""
    limits = [_read_number(_CGROUP / name) for name in _CGROUP_LIMITS]
    return next((limit for limit in limits if limit is not None and limit < _CGROUP_UNLIMITED), None)


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or "max"
        return None


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's malloc.h
_NEVER = -1


def keep_freed_memory() -> bool:
    """Let this process keep freed memory until it ends, and return whether the allocator accepted that.

    The process then occupies its peak as long as it lives, so this is for commands that end; a service that
    should be small between predictions goes without. Only Linux with glibc has it; elsewhere nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    # No block is mapped on its own, and free memory at the end of the heap is never given back.
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))


def import_modules(*names: str) -> None:
    """Import modules, whose objects stay until this process ends, without searching these for garbage.

    torch makes so many that searching them again and again is a good part of its import.
    """
    gc.disable()
    try:
        for name in names:
            import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def usable_cores() -> int:
    """Return the number of cores that the affinity and the container grant to this process, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else psutil.cpu_count() or 1
    try:
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="utf-8").split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or "max"
        return cores
