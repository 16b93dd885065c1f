"""One process at a time in a folder: a lock that the system takes back, whatever becomes of the process.

The lock is on the file `.lock` in the folder. A process that is killed leaves the file, which means nothing
without the lock. File systems without locks (some network drives) let everyone in.
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

LOCK_FILE = ".lock"
_PAUSE = 0.01  # seconds between two tries
_held: set[str] = set()
"""Folders of this process: the system would give it a lock twice, and take both back with the first."""


@contextmanager
def sole_use(folder: Path, work: str, patience: float = 0.0) -> Generator[None]:
    """While inside, no other process gets in. `work` says what is done there, e.g. "training".

    Waits up to `patience` seconds for another process.

    Makes the folder, and removes it where nothing was put into it.

    Raises:
        InputError: it is in use, or the folder cannot be written.
    """
    place = os.path.realpath(folder)
    if place in _held:
        raise _in_use(folder, work, "in this process")
    with _locked_file(folder, work, time.monotonic() + patience) as file:
        _sign(file)
        _held.add(place)
        try:
            yield
        finally:
            _held.discard(place)
            with suppress(OSError):  # Windows removes no open file, and most folders are not empty
                (folder / LOCK_FILE).unlink()
                folder.rmdir()


def _locked_file(folder: Path, work: str, until: float) -> BinaryIO:
    """The open file with the lock, waited for `until` the monotonic clock says so."""
    while True:
        file = _opened(folder)
        try:
            locked = _locked(file)
            if locked and _is_at(file, folder / LOCK_FILE):
                return file
            if not locked:
                if time.monotonic() >= until:
                    raise _in_use(folder, work, _owner(file))
                time.sleep(_PAUSE)
            file.close()  # who has it still works, or has just removed it
        except BaseException:
            file.close()
            raise


def _opened(folder: Path) -> BinaryIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / LOCK_FILE).open("a+b", buffering=0)
    except OSError as error:
        finding = f"cannot be written ({error.strerror or error})"
        raise InputError(f"{folder}: {finding}; check its rights, or choose another -o") from error


def _locked(file: BinaryIO) -> bool:
    """Take the lock if it is free; closing the file, or the end of the process, gives it back.

    Of POSIX's two kinds this is the one that processes made by fork do not inherit: workers that outlive a
    killed training must not keep it.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 20)  # beyond what is read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # no locks on this file system
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sign(file: BinaryIO) -> None:
    """Say who has it, for a message to others; where the disk is full, nothing is said."""
    with suppress(OSError):
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())


def _owner(file: BinaryIO) -> str:
    file.seek(0)
    return file.read(200).decode("utf-8", "replace") or "its process did not say which"


def _in_use(folder: Path, work: str, owner: str) -> InputError:
    return InputError(
        f"{folder}: another {work} is at work there ({owner}); wait for its end, or choose another -o"
    )
