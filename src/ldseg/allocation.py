"""How the process gets memory for tensors on the CPU."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # names of mallopt(3) in glibc
_NEVER = -1
_SET_BY_USER = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed for the next allocation; whether it now does.

    As it is, glibc hands every large block back to the system when a tensor ends and asks for it again at the
    next operation, and the system clears it page by page: a good part of the CPU time of predicting volumes
    patch by patch. The peak is somewhat higher, and what was freed is not given back before the process ends;
    trainings gain nothing. `ldseg predict` calls it where no limit of memory is given. Does nothing without
    glibc, or where the environment sets malloc's options itself (MALLOC_MMAP_MAX_=65536 leaves all as it is).
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _SET_BY_USER):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
