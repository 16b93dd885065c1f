"""Curves for TensorBoard: RUN/tensorboard, to be seen with `tensorboard --logdir RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldseg.runs.files import TENSORBOARD_FOLDER
from ldseg.training.loggers.scalars import scalars
from ldseg.utils.serialization import refused


class TensorBoardLogger:
    """Writes event files; a training that goes on hides what was logged after its checkpoint."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._place = folder / TENSORBOARD_FOLDER
        self._writer: Any = SummaryWriter(str(self._place), purge_step=step + 1 if step else None)

    def log(self, record: dict[str, Any]) -> None:
        """Add the record's numbers to their curves. Raises InputError when the disk refuses."""
        try:
            for name, value in scalars(record).items():
                self._writer.add_scalar(name, value, record["step"])
        except OSError as error:
            raise refused(self._place, error) from error

    def close(self) -> None:
        """Write the events that are held back."""
        self._writer.close()


def make_logger(folder: Path, step: int) -> TensorBoardLogger:
    """Return the logger of a training in `folder` that begins, or goes on, at `step`."""
    return TensorBoardLogger(folder, step)
