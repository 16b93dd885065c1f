"""Freed memory stays with the process, for the next tensor of its size.

The C library gives large blocks back to the system as soon as they are free and asks for them again; the
system then clears them page by page, which takes a good part of a volume's time.
"""

from __future__ import annotations

import ctypes
import sys

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
