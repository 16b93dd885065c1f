"""Exclusive access to a folder by a file lock, which the system releases when the process ends.

The lock is on the file `.lock` in the folder. A process that is killed leaves the file but not the lock. File
systems without locks (some network drives) grant access to everyone.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ldseg.errors import InputError
from ldseg.runs.files import LOCK_FILE

_RETRY_SECONDS = 0.01
_held: set[str] = set()
"""Folders locked by this process: the system would grant it the same lock twice and release both at once."""


@contextmanager
def lock_folder(folder: Path, work: str, timeout: float = 0.0) -> Generator[None]:
    """Hold the lock of `folder` within the context; `work` names the activity, e.g. "training".

    Waits up to `timeout` seconds for another process. Creates the folder, and removes it on leaving if it is
    empty.

    Raises:
        InputError: another process holds the lock, or the folder cannot be written.
    """
    place = os.path.realpath(folder)
    if place in _held:
        raise _in_use(folder, work, "in this process")
    with _wait_for_lock(folder, work, time.monotonic() + timeout) as file:
        with suppress(OSError):  # a full disk is no reason to refuse; the message then names no owner
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        _held.add(place)
        try:
            yield
        finally:
            _held.discard(place)
            with suppress(OSError):  # Windows removes no open file, and most folders are not empty
                (folder / LOCK_FILE).unlink()
                folder.rmdir()


def _wait_for_lock(folder: Path, work: str, until: float) -> BinaryIO:
    """Return the open lock file with the lock held, retrying until the monotonic clock reaches `until`."""
    while True:
        file = _open_lock_file(folder)
        try:
            locked = _try_lock(file)
            if locked and _is_same_file(file, folder / LOCK_FILE):
                return file
            if not locked:
                if time.monotonic() >= until:
                    file.seek(0)
                    owner = file.read(200).decode("utf-8", "replace")
                    raise _in_use(folder, work, owner or "its process did not say which")
                time.sleep(_RETRY_SECONDS)
            file.close()  # its owner is still at work, or has just removed the file
        except BaseException:
            file.close()
            raise


def _open_lock_file(folder: Path) -> BinaryIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / LOCK_FILE).open("a+b", buffering=0)
    except OSError as error:
        finding = f"cannot be written ({error.strerror or error})"
        raise InputError(f"{folder}: {finding}; check its rights, or choose another -o") from error


def _try_lock(file: BinaryIO) -> bool:
    """Return whether the lock was free and is now held; closing the file or ending the process releases it.

    POSIX record locks (lockf) are not inherited by forked processes, unlike flock: workers that outlive a
    killed training must not keep the lock.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 20)  # beyond the bytes that others read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # the file system has no locks
    return True


def _is_same_file(file: BinaryIO, path: Path) -> bool:
    """Return whether `path` still is the open file, which its last owner may have removed."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _in_use(folder: Path, work: str, owner: str) -> InputError:
    return InputError(
        f"{folder}: another {work} is at work there ({owner}); wait for its end, or choose another -o"
    )
