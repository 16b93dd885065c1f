"""How long to train, and how far we are: steps, epochs, wall-clock minutes or CPU minutes of the process.

Time counts training steps alone: validation, saving and the time between two sittings do not use it up.
Several processes agree on it: wall-clock is their mean, CPU time their sum.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ldseg.errors import InputError
from ldseg.settings import TrainingSettings
from ldseg.utils.distributed import SINGLE_PROCESS, DistributedContext


@dataclass
class Budget:
    """Share of the budget that is used: `progress()` in [0, 1], 1 when training ends."""

    steps: int | None
    """Steps in all, or None where time decides."""
    seconds: float | None
    clock: Callable[[], float]
    step: int = 0
    spent: float = 0.0
    """Seconds of training so far, all sittings together."""
    pool: Callable[[float], float] = float
    """From the seconds of this process in a step to those that count."""
    _started: float | None = field(default=None, repr=False)

    def progress(self) -> float:
        """Share used, in [0, 1]."""
        if self.steps is not None:
            return min(1.0, self.step / self.steps)
        return min(1.0, self.spent / (self.seconds or 1.0))

    def start_step(self) -> None:
        """The clock runs from here."""
        self._started = self.clock()

    def end_step(self) -> None:
        """The clock stops here and the step counts."""
        if self._started is not None:
            self.spent += self.pool(self.clock() - self._started)
        self._started = None
        self.step += 1


def make_budget(
    settings: TrainingSettings, steps_per_epoch: int, context: DistributedContext = SINGLE_PROCESS
) -> Budget:
    """The budget that the settings name.

    Raises:
        InputError: none or several budgets are given, or one that is not positive.
    """
    names = ("steps", "minutes", "cpu_minutes", "epochs")
    given = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise InputError(f"training budget: found {found}; give exactly one of {', '.join(names)}")
    ((name, value),) = given.items()
    if not value > 0:
        raise InputError(f"training.{name} is {value}; give a number above 0")
    if name in ("steps", "epochs"):
        steps = value if name == "steps" else value * steps_per_epoch
        return Budget(steps, None, time.monotonic)
    if name == "minutes":
        return Budget(
            None,
            60.0 * value,
            time.monotonic,
            pool=lambda spent: context.all_reduce(spent)[0] / context.world_size,
        )
    return Budget(None, 60.0 * value, time.process_time, pool=lambda spent: context.all_reduce(spent)[0])
