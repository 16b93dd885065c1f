"""The budget among the settings of a training: steps, epochs, minutes or CPU minutes."""

from __future__ import annotations

from ldseg.errors import InputError
from ldseg.settings import TrainingSettings

BUDGETS = ("steps", "minutes", "cpu_minutes", "epochs")
"""Names of the settings that give a budget."""


def given_budget(settings: TrainingSettings) -> tuple[str, float]:
    """Return name and value of the budget that the settings give.

    Raises:
        InputError: none or several budgets are given, or one that is not positive.
    """
    given = {name: getattr(settings, name) for name in BUDGETS if getattr(settings, name) is not None}
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise InputError(f"training budget: found {found}; give exactly one of {', '.join(BUDGETS)}")
    ((name, value),) = given.items()
    if not value > 0:
        raise InputError(f"training.{name} is {value}; give a number above 0")
    return name, value


def describe_budget(settings: TrainingSettings) -> str:
    """Return the budget in words, e.g. "60 minutes"."""
    found = [(name, getattr(settings, name)) for name in BUDGETS]
    return ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in found if value is not None)
