"""The budget among the settings of a training: steps, epochs, minutes or CPU minutes."""

from __future__ import annotations

from dataclasses import replace

from ldseg.errors import InputError
from ldseg.settings import TrainingSettings

BUDGETS = ("steps", "minutes", "cpu_minutes", "epochs")
"""Names of the settings that give a budget."""
DEFAULT_MINUTES = 60.0
MOST_MINUTES = 24 * 60.0
"""Limit of a training that ends when validation is flat."""


def given_budget(settings: TrainingSettings) -> tuple[str, float]:
    """Return name and value of the budget that the settings give.

    Raises:
        InputError: none or several budgets are given, one that is not positive, or an end by validation
            without validation cases.
    """
    given = {name: getattr(settings, name) for name in BUDGETS if getattr(settings, name) is not None}
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise InputError(f"training budget: found {found}; give exactly one of {', '.join(BUDGETS)}")
    ((name, value),) = given.items()
    if not value > 0:
        raise InputError(f"training.{name} is {value}; give a number above 0")
    if settings.until_flat and settings.fold == "all":
        raise InputError(
            "--until-flat needs validation cases, and --fold all trains on every case; leave one of them out"
        )
    return name, value


def describe_budget(settings: TrainingSettings) -> str:
    """Return the budget in words, e.g. "60 minutes"."""
    found = [(name, getattr(settings, name)) for name in BUDGETS]
    limits = ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in found if value is not None)
    return f"until validation is flat, at most {limits}" if settings.until_flat else limits


def with_default_budget(settings: TrainingSettings) -> TrainingSettings:
    """Return the settings with a budget; if none is given 60 minutes, or up to 24 hours with `until_flat`."""
    if any(getattr(settings, name) is not None for name in BUDGETS):
        return settings
    return replace(settings, minutes=MOST_MINUTES if settings.until_flat else DEFAULT_MINUTES)
