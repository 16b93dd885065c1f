"""A logger for MLflow: writes RUN/mlflow.db, shown by `mlflow ui --backend-store-uri sqlite:///RUN/mlflow.db`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldseg.runs.files import MLFLOW_FILE
from ldseg.training.loggers.base import Record
from ldseg.training.loggers.scalars import scalars

_EXPERIMENT = "0"  # the one that each store has


class MLflowLogger:
    """Writes one MLflow run into a local store, without a server; a resumed training continues it."""

    def __init__(self, folder: Path, step: int) -> None:
        from mlflow.tracking import MlflowClient  # pyright: ignore

        self._client: Any = MlflowClient(tracking_uri=f"sqlite:///{(folder / MLFLOW_FILE).resolve()}")
        found = self._client.search_runs([_EXPERIMENT], max_results=1) if step else []
        run = found[0] if found else self._client.create_run(_EXPERIMENT, run_name=folder.resolve().name)
        self._run: str = run.info.run_id

    def log(self, record: Record) -> None:
        """Log the record's scalars."""
        for name, value in scalars(record).items():
            self._client.log_metric(self._run, name, value, step=record["step"])

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._run)
