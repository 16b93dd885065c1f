"""A training of a benchmark: begun, or gone on with when the same command is given again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ldseg.data.datasets import DataSet
from ldseg.data.splits import Splits
from ldseg.planning.plan import Plan
from ldseg.settings import RunSettings
from ldseg.training.checkpoint import STATE_FILE
from ldseg.training.run import TrainingResult, train

INTERRUPTED = 130


def train_or_go_on(
    dataset: DataSet, plan: Plan, splits: Splits, settings: RunSettings, run: Path, losses_every: int = 0
) -> TrainingResult:
    """To the end, or out of the program when it is interrupted. Prints validations, and losses every so many
    steps unless that is 0."""

    def report(record: dict[str, Any]) -> None:
        timely = record["event"] == "losses" and losses_every and record["step"] % losses_every == 0
        if record["event"] == "validation" or timely:
            print(json.dumps(record), flush=True)

    ended = train(dataset, plan, splits, settings, run, (run / STATE_FILE).is_file(), report)
    if ended.interrupted:
        sys.exit(INTERRUPTED)
    return ended
