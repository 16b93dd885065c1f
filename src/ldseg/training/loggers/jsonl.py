"""The records as JSON lines in log.jsonl, from which curves and reports are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldseg.training.log_files import append_record


class JsonlLogger:
    """Appends each record at once, so that a killed training keeps what happened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def log(self, record: dict[str, Any]) -> None:
        """Append one line. Raises InputError when the disk refuses."""
        append_record(self._folder, record)

    def close(self) -> None:
        """Do nothing: all is written."""
