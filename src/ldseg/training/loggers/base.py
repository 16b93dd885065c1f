"""The interface of a logger, a destination for the records of one training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

Record = dict[str, Any]
"""A record has "event" ("losses" or "validation") and "step"; see `training.trainer`."""


class Logger(Protocol):
    """A destination for the records of one training."""

    def log(self, record: Record) -> None:
        """Log one record. Raises InputError if it cannot be written."""
        ...

    def close(self) -> None:
        """Flush and close; nothing is logged afterwards."""
        ...


MakeLogger = Callable[[Path, int], Logger]
"""A function of the run's folder and the first step (0 for a new training), such as a logger's class."""
