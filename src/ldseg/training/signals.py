"""SIGINT and SIGTERM ask training to save and stop after the current step; a second one stops at once.

Where a launcher started several processes, one wish may reach a process twice, from the launcher and from the
scheduler above it. Then a second signal means no more than the first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether someone asked us to stop."""

    def __init__(self) -> None:
        self.wanted = False


@contextmanager
def listen_for_stop(launched: bool = False) -> Generator[StopRequest]:
    """Signals set the request while inside; only the main thread can listen, others never see one.

    `launched`: by a launcher, together with other processes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        if request.wanted and not launched:
            raise KeyboardInterrupt(f"signal {number} twice")
        request.wanted = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
