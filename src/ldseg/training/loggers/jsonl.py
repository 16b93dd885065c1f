"""A logger of JSON lines in log.jsonl, from which curves and reports are made."""

from __future__ import annotations

from pathlib import Path

from ldseg.training.log_files import append_record
from ldseg.training.loggers.base import Record


class JsonlLogger:
    """Appends each record at once, so that a killed training keeps its log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def log(self, record: Record) -> None:
        """Append one line. Raises InputError if it cannot be written."""
        append_record(self._folder, record)

    def close(self) -> None:
        """Do nothing: every record is already written."""
