"""Loggers, which keep the records of a training. A new logger is a file here and a line in `LOGGERS`.

Of several processes only rank 0 logs. `log.jsonl` is always written.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ldseg.errors import InputError
from ldseg.training.loggers.base import Logger, MakeLogger
from ldseg.training.loggers.jsonl import JsonlLogger
from ldseg.training.loggers.mlflow import MLflowLogger
from ldseg.training.loggers.tensorboard import TensorBoardLogger
from ldseg.training.loggers.wandb import WandbLogger
from ldseg.utils.registry import Registry

LOGGERS: Registry[MakeLogger] = Registry(
    "training.loggers",
    {"tensorboard": TensorBoardLogger, "mlflow": MLflowLogger, "wandb": WandbLogger},
)
"""Each needs the package of its name, which ldseg's extra of that name installs."""


def check_loggers(names: Sequence[str]) -> None:
    """Raise InputError for a logger that there is not, or whose package is not installed."""
    for name in names:
        try:
            LOGGERS.find(name)
        except ValueError as error:
            raise InputError(str(error)) from error
        if name not in LOGGERS:
            continue  # one from outside was imported with all that it needs
        try:
            import_module(name)
        except ImportError as error:
            finding = f"{name} needs the package {name}, which is not installed"
            raise InputError(f'training.loggers: {finding}; pip install "ldseg[{name}]"') from error


def make_loggers(names: Sequence[str], folder: Path, step: int) -> tuple[Logger, ...]:
    """Return the loggers of a training in `folder` that begins or continues at `step`."""
    return (JsonlLogger(folder), *(LOGGERS.find(name)(folder, step) for name in names))
