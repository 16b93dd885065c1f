"""Is there memory for voxels? Asked before they are read: a header may promise more than anyone can hold.

What can be had is the least of what the machine has free, what a container may still take and what the limits
of the process (`ulimit -v`) leave.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ldseg.data.faults import file_error

if sys.platform != "win32":
    import resource

_CGROUP = Path("/sys/fs/cgroup")
_IMAGE_BYTES = 4
"""Of a voxel as float32, which every image becomes."""


def check_room(path: Path, voxels: int, stored: int) -> None:
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
