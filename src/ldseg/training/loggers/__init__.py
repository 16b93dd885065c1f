"""Loggers, which keep the records of a training. A new logger is a file here and a line in `LOGGERS`.

A record is a dict with "event" ("losses" or "validation") and "step"; see `training.trainer`. Of several
processes only rank 0 logs. `log.jsonl` is always written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ldseg.errors import InputError
from ldseg.training.loggers.jsonl import JsonlLogger

Record = dict[str, Any]


class Logger(Protocol):
    """A destination for the records of one training."""

    def log(self, record: Record) -> None:
        """Log one record. Raises InputError if it cannot be written."""
        ...

    def close(self) -> None:
        """Flush and close; nothing is logged afterwards."""
        ...


MakeLogger = Callable[[Path, int], Logger]
"""A function of the run's folder and the first step (0 for a new training)."""

LOGGERS: dict[str, tuple[str, str]] = {
    "tensorboard": ("ldseg.training.loggers.tensorboard", "tensorboard"),
}
"""Name in `training.loggers`, also that of ldseg's extra, to a module with `make_logger` and the package that
it needs."""


def check_loggers(names: Sequence[str]) -> None:
    """Raise InputError for a logger whose package is not installed."""
    for name in names:
        package = LOGGERS[name][1]
        try:
            import_module(package)
        except ImportError as error:
            finding = f"{name} needs the package {package}, which is not installed"
            raise InputError(f'training.loggers: {finding}; pip install "ldseg[{name}]"') from error


def make_loggers(names: Sequence[str], folder: Path, step: int) -> tuple[Logger, ...]:
    """Return the loggers of a training in `folder` that begins or continues at `step`."""
    makers: list[MakeLogger] = [import_module(LOGGERS[name][0]).make_logger for name in names]
    return (JsonlLogger(folder), *(make(folder, step) for make in makers))
