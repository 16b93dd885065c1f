"""The cases of a viewer. Each is opened when it is looked at, and the latest stay in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from ldseg.app.viewer.session import Session, Stopped
from ldseg.errors import InputError
from ldseg.inference.output import OnPlanes

OpenCase = Callable[[int, OnPlanes], Session]
"""Opens the n-th case; what the second argument raises ends the prediction. Raises InputError."""
_KEPT = 3
"""Cases in memory at most: going back and forth is then immediate."""


class CaseList:
    """Opens cases by their number, in the background and one at a time: the latest that was asked for."""

    def __init__(self, names: Sequence[str], open_case: OpenCase) -> None:
        """Open the first case at once. Raises InputError if it cannot be opened."""
        self.names = tuple(names)
        self._open_case = open_case
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None
        self._problems: dict[int, str] = {}
        self._sessions = {0: open_case(0, self._stop_if_unwanted)}
        """In the order in which they were looked at."""

    def find(self, number: int) -> Session | None:
        """Return the session of a case that is open, else None."""
        return self._sessions.get(number)

    def problem(self, number: int) -> str:
        """Return why a case could not be opened; "" while it is being opened."""
        return self._problems.get(number, "")

    def open(self, number: int) -> None:
        """Begin to open a case unless it is open; what else was being opened is given up."""
        with self._lock:
            self._halt()
            self._problems.pop(number, None)
            if number in self._sessions:
                self._sessions[number] = self._sessions.pop(number)
                return
            self._worker = threading.Thread(target=self._open_behind, args=(number,), name="opening")
            self._worker.start()

    def wait(self) -> None:
        """Wait until the case that was asked for is open, or could not be opened."""
        if self._worker is not None:
            self._worker.join()

    def end(self) -> None:
        """Stop all that is being predicted."""
        with self._lock:
            self._halt()

    def _halt(self) -> None:
        """Give up what is being opened or sampled."""
        self._stop.set()
        self.wait()
        for session in self._sessions.values():
            session.stop()
        self._stop.clear()

    def _open_behind(self, number: int) -> None:
        try:
            session = self._open_case(number, self._stop_if_unwanted)
        except Stopped:
            return
        except (InputError, MemoryError, RuntimeError) as error:  # torch says RuntimeError for lack of memory
            self._problems[number] = str(error) or "there is not enough memory"
            return
        self._sessions[number] = session
        while len(self._sessions) > _KEPT:
            self._sessions.pop(next(iter(self._sessions))).stop()

    def _stop_if_unwanted(self) -> None:
        """Raise `Stopped` once another case is wanted."""
        if self._stop.is_set():
            raise Stopped
