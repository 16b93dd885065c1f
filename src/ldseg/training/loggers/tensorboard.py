"""A logger for TensorBoard: writes RUN/tensorboard, shown by `tensorboard --logdir RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldseg.runs.files import TENSORBOARD_FOLDER
from ldseg.training.loggers.base import Record
from ldseg.training.loggers.scalars import scalars
from ldseg.utils.serialization import refused


class TensorBoardLogger:
    """Writes event files; a resumed training hides what was logged after its checkpoint."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._folder = folder / TENSORBOARD_FOLDER
        self._writer: Any = SummaryWriter(str(self._folder), purge_step=step + 1 if step else None)

    def log(self, record: Record) -> None:
        """Add the record's scalars. Raises InputError if they cannot be written."""
        try:
            for name, value in scalars(record).items():
                self._writer.add_scalar(name, value, record["step"])
        except OSError as error:
            raise refused(self._folder, error) from error

    def close(self) -> None:
        """Flush the events and close the file."""
        self._writer.close()
