"""Training budget: steps, epochs, wall-clock minutes or CPU minutes of the process.

Only training steps count: validation, saving and the time between interruption and resumption do not. With
several processes wall-clock time is their mean and CPU time their sum.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ldseg.settings import TrainingSettings
from ldseg.training.budget_settings import given_budget
from ldseg.training.flatness import COOL_DOWN
from ldseg.utils.distributed import SINGLE_PROCESS, DistributedContext


@dataclass
class Budget:
    """A limit of steps or seconds, and how much of it is used."""

    steps: int | None
    """Number of steps, None if time is the limit."""
    seconds: float | None
    clock: Callable[[], float]
    step: int = 0
    spent: float = 0.0
    """Seconds of training so far, including those before a resumption."""
    pool: Callable[[float], float] = float
    """Maps the seconds of a step in this process to those that count for all processes."""
    first_step: int = 0
    """Step at which this budget began; those before were on another, which a continued training has used."""
    first_spent: float = 0.0
    """Seconds at which it began."""
    until_flat: bool = False
    """Whether training ends before the limit when validation is flat (`training.flatness`)."""
    flat_at: float | None = None
    """How much of the budget was used when validation was flat; None: it was not yet."""
    _started: float | None = field(default=None, repr=False)

    @property
    def used(self) -> float:
        """Return how much of the budget is used, in steps or seconds."""
        if self.steps is not None:
            return self.step - self.first_step
        return self.spent - self.first_spent

    @property
    def limit(self) -> float:
        """Return the steps or seconds at which training ends."""
        limit = self.seconds or 1.0 if self.steps is None else self.steps
        return limit if self.flat_at is None else min(limit, self.flat_at / (1 - COOL_DOWN))

    def progress(self) -> float:
        """Return the used fraction of the budget in [0, 1]; training ends at 1."""
        return min(1.0, self.used / self.limit)

    def seconds_left(self, step_seconds: float) -> float:
        """Return about how long training goes on when a step takes so many seconds. CPU time passes faster
        than a clock with several threads, and slower beside other work."""
        left = max(0.0, self.limit - self.used)
        if self.steps is not None:
            return left * step_seconds
        on_cpu = self.clock is time.process_time and self.spent > 0
        return left * step_seconds * self.step / self.spent if on_cpu else left

    def start_step(self) -> None:
        """Start the clock of a step."""
        self._started = self.clock()

    def end_step(self) -> None:
        """Stop the clock and count the step."""
        if self._started is not None:
            self.spent += self.pool(self.clock() - self._started)
        self._started = None
        self.step += 1


def make_budget(
    settings: TrainingSettings, steps_per_epoch: int, context: DistributedContext = SINGLE_PROCESS
) -> Budget:
    """Return the budget that the settings give.

    Raises:
        InputError: none or several budgets are given, or one that is not positive.
    """
    name, value = given_budget(settings)
    if name in ("steps", "epochs"):
        steps = int(value if name == "steps" else value * steps_per_epoch)
        return Budget(steps, None, time.monotonic, until_flat=settings.until_flat)
    if name == "minutes":
        return Budget(
            None,
            60.0 * value,
            time.monotonic,
            pool=lambda spent: context.all_reduce(spent)[0] / context.world_size,
            until_flat=settings.until_flat,
        )
    return Budget(
        None,
        60.0 * value,
        time.process_time,
        pool=lambda spent: context.all_reduce(spent)[0],
        until_flat=settings.until_flat,
    )
