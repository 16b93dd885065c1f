"""What is to be trained and scored: sets, models, seeds, CPU minutes. `figures.py` does it.

The tables take the rows of the plan where they are there; of a set whose rows are missing they take those of
the budget that most trainings share, and say which it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sets import SETS

Model = tuple[str, str]
"""Model and preset."""
OURS: Model = ("ldseg", "default")
CONTROL: Model = ("unet", "default")
NNUNET: Model = ("nnunet", "default")
MODELS: tuple[Model, ...] = (
    OURS,
    CONTROL,
    ("ldseg", "paper"),
    ("pixel_diffusion", "default"),
    ("ssn", "default"),
)


@dataclass(frozen=True)
class PlannedSet:
    """A set, and what is trained on it."""

    data: str
    minutes: float = 20.0
    """CPU minutes of each training."""
    seeds: tuple[int, ...] = (0,)
    """Those of `OURS` and of `CONTROL`; the others have the first."""
    nnunet_minutes: tuple[float, ...] = ()
    """CPU minutes of the trainings of nnU-Net, with seed 0."""
    raters: bool = False
    """Several raters a case: scored by `raters.py` alone, for no mask of them is the reference."""
    cost_hours: float = 0.1
    """Estimate of the CPU hours that scoring one training takes."""

    @property
    def folds(self) -> tuple[int | None, ...]:
        """Folds that are left out in turn; one None stands for the test part."""
        return tuple(range(SETS[self.data].folds)) or (None,)


PLAN = (
    PlannedSet("hippocampus", 40, (0, 1, 2), (40, 160), cost_hours=0.25),
    PlannedSet("usgra", 20, (0, 1, 2), (40, 160), cost_hours=0.4),
    PlannedSet("hc18", 20, (0, 1, 2), cost_hours=0.3),
    PlannedSet("dsb2018"),
    PlannedSet("sunnybrook"),
    PlannedSet("bubil", raters=True),
)


def main_budget(data: str, trained: Iterable[tuple[Model, float, int]]) -> float | None:
    """Return the CPU minutes whose rows stand in the table of a set: those of the plan if ours and the
    control were trained so, else those of most such trainings. None without any.

    `trained` holds the model, the minutes and the seed of each training on the set.
    """
    seeds: dict[float, dict[Model, set[int]]] = {}
    for model, minutes, seed in trained:
        seeds.setdefault(minutes, {}).setdefault(model, set()).add(seed)
    pairs = {
        minutes: len(found[OURS] & found[CONTROL])
        for minutes, found in seeds.items()
        if OURS in found and CONTROL in found
    }
    planned = next((one.minutes for one in PLAN if one.data == data), 20.0)
    if pairs.get(planned):
        return planned
    return max(pairs, key=lambda minutes: (pairs[minutes], -abs(math.log(minutes / planned))), default=None)
