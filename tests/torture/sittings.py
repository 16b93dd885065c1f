"""One command in a process of its own, which may be killed or find the disk full. Imports are done before."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from ldseg.app.cli.main import main


@dataclass(frozen=True)
class Sitting:
    """How it ended."""

    code: int
    """Exit code, or minus the signal."""
    errors: tuple[str, ...]
    """Lines on stderr."""
    seconds: float


def sit(words: Sequence[str], kill_after: float | None = None, file_size: int | None = None) -> Sitting:
    """Run the command `ldseg WORDS`; kill -9 after so many seconds if it is still at work then.

    `file_size` is the largest size in bytes that a file may have, beyond which the disk is as good as full.
    """
    reading, writing = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_the_command(words, writing, file_size)
    os.close(writing)
    said = _listen(reading, child, None if kill_after is None else started + kill_after)
    status = os.waitpid(child, 0)[1]
    lines = tuple(said.decode("utf-8", "replace").splitlines())
    return Sitting(os.waitstatus_to_exitcode(status), lines, time.monotonic() - started)


def _be_the_command(words: Sequence[str], errors: int, file_size: int | None) -> None:
    """Never returns."""
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(errors, 2)
        # Python's own would take the pipe for what they were opened on, which may have been a file.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
        code = main(list(words))
    except SystemExit as left:
        code = int(left.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _listen(reading: int, child: int, deadline: float | None) -> bytes:
    """All that is said until the end, or until the deadline, when the child is killed."""
    said = b""
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([reading], [], [], left)[0]:
            os.kill(child, signal.SIGKILL)
            deadline = None
            continue
        part = os.read(reading, 2**16)
        if not part:
            os.close(reading)
            return said
        said += part
