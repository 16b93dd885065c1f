"""A logger for Weights & Biases, offline: writes RUN/wandb; `wandb sync RUN/wandb/offline-*` uploads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldseg.training.loggers.base import Record
from ldseg.training.loggers.scalars import scalars


class WandbLogger:
    """Writes one offline run; a resumed training writes a second one in the same group."""

    def __init__(self, folder: Path, step: int) -> None:
        import wandb  # pyright: ignore

        del step  # each record has its own
        name = folder.resolve().name
        quiet: Any = wandb.Settings(silent=True, console="off")  # pyright: ignore
        self._run: Any = wandb.init(  # pyright: ignore
            project="ldseg", group=name, name=name, dir=str(folder), mode="offline", settings=quiet
        )

    def log(self, record: Record) -> None:
        """Log the record's scalars."""
        values = scalars(record)
        if values:
            self._run.log(values, step=record["step"])

    def close(self) -> None:
        """Flush and close the run."""
        self._run.finish()
