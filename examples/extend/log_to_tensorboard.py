"""Log the curves of a training to TensorBoard: `tensorboard --logdir RUN`."""

from __future__ import annotations

import sys
from pathlib import Path

import ldseg


def main(data: Path, run: Path, steps: int) -> None:
    """Train on `data` for so many steps; RUN/tensorboard has the events."""
    ldseg.train(data, run, changes={"training": {"steps": steps, "loggers": ["tensorboard"]}})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
