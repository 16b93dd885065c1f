"""Log the curves of a training to MLflow: `mlflow ui --backend-store-uri sqlite:///RUN/mlflow.db`."""

from __future__ import annotations

import sys
from pathlib import Path

import ldseg


def main(data: Path, run: Path, steps: int) -> None:
    """Train on `data` for so many steps; RUN/mlflow.db has the curves."""
    ldseg.train(data, run, changes={"training": {"steps": steps, "loggers": ["mlflow"]}})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
