"""Where the records of a training go beside the screen. A new logger is a file here and a line in `LOGGERS`.

A record is a dict with "event" ("losses" or "validation") and "step"; see `training.run`. Only the first of
several processes logs. `log.jsonl` is always written.
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
    """Takes the records of one training, in order."""

    def log(self, record: Record) -> None:
        """Take one record. Raises InputError when it cannot be kept."""
        ...

    def close(self) -> None:
        """Write what is held back; nothing is logged afterwards."""
        ...


MakeLogger = Callable[[Path, int], Logger]
"""From the run's folder and the step at which training goes on (0: a new training)."""

LOGGERS: dict[str, tuple[str, str]] = {
    "tensorboard": ("ldseg.training.loggers.tensorboard", "tensorboard"),
}
"""By the names in `training.loggers`, which are those of ldseg's extras too: a module with `make_logger`, and
the package that it needs."""


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
    """Return the loggers of a training in `folder` that begins, or goes on, at `step`."""
    makers: list[MakeLogger] = [import_module(LOGGERS[name][0]).make_logger for name in names]
    return (JsonlLogger(folder), *(make(folder, step) for make in makers))
