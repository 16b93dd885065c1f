"""SIGINT and SIGTERM ask training to save and stop after the current step; a second signal stops at once.

If a launcher started several processes, one request may reach a process twice, from the launcher and from the
scheduler above it. Then a second signal means no more than the first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """A request to stop, set by a signal."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def stop_on_signal(launched: bool = False) -> Generator[StopRequest]:
    """Yield a request that signals set; outside the main thread, which alone gets signals, it is never set.

    `launched`: whether a launcher started this process together with others.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        if request.requested and not launched:
            raise KeyboardInterrupt(f"signal {number} twice")
        request.requested = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
