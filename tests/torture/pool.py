"""Workers that are given inputs, watched, and replaced when they die or hang."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

WALL_SECONDS = 120.0
"""Most that an input may take, on a machine that does other work too."""
_HERE = Path(__file__).parent
_MODULES = (_HERE, _HERE.parent, _HERE.parent / "data", _HERE.parents[1] / "src")
Job = tuple[str, int]


def environment() -> dict[str, str]:
    """For the processes of the suite: one thread each, and the modules that they import."""
    words = {"PYTHONPATH": os.pathsep.join(map(str, _MODULES)), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **words}


def run_jobs(
    jobs: Iterable[Job], models: Path, work: Path, workers: int, on_answer: Callable[[list[Any]], None]
) -> None:
    """Give all jobs to `workers` processes; `on_answer` gets the outcomes of each job, as dicts."""
    waiting: queue.Queue[Job] = queue.Queue()
    for job in jobs:
        waiting.put(job)
    lock = threading.Lock()

    def tell(answer: list[Any]) -> None:
        with lock:
            on_answer(answer)

    threads = []
    for number in range(workers):
        place = work / f"worker{number}"
        place.mkdir(parents=True, exist_ok=True)
        threads.append(threading.Thread(target=_keep_busy, args=(waiting, models, place, tell)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _keep_busy(
    waiting: queue.Queue[Job], models: Path, place: Path, tell: Callable[[list[Any]], None]
) -> None:
    worker: _Worker | None = None
    while True:
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            break
        worker = worker or _Worker(models, place)
        answer = worker.ask(job)
        if answer is None:
            answer = [_dead(job, worker.end())]
            worker = None
        tell(answer)
    if worker is not None:
        worker.end()


def _dead(job: Job, code: int | None) -> dict[str, Any]:
    how = "hung" if code is None else f"died with {code}"
    words = {"damage": "?", "command": "?", "code": code or -9, "lines": [], "cpu_s": 0.0, "peak_gb": 0.0}
    return {"kind": job[0], "number": job[1], **words, "fault": f"the process {how}"}


class _Worker:
    """One process of `worker.py`."""

    def __init__(self, models: Path, place: Path) -> None:
        words = [sys.executable, str(_HERE / "worker.py"), str(models), str(place)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        if self._lines.get(timeout=4 * WALL_SECONDS) != "ready\n":
            raise RuntimeError("a worker of the suite cannot start")

    def ask(self, job: Job) -> list[Any] | None:
        """The outcomes; None when it died or took too long."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{job[0]} {job[1]}\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=WALL_SECONDS)
        except (OSError, queue.Empty):
            return None
        return json.loads(line) if line else None

    def end(self) -> int | None:
        """Its exit code; None when it was still at work. It is gone afterwards."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            code: int | None = self._process.wait(timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            code = self._process.poll()
        self._process.kill()
        self._process.wait()
        return code

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")
