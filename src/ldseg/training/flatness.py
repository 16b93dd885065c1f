"""When has validation stopped improving? The rule of `training.until_flat`.

Validations follow each other at times that grow by a quarter, so that training has about doubled between the
last three and the three before them. Validation is flat when that doubling raised the mean Dice by less than
0.002, and no class by more than 0.01. Means of three even out the noise of single validations, which are of
the moving average of the weights on the same cases; a structure that is being found counts by its class.

Until then the learning rate is constant. Training then goes on for a quarter of its time so far, in which the
learning rate falls linearly (warm-up, stable, decay: Hu et al. 2024; Haegele et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

GROWTH = 1.25
"""Ratio of the times of two validations."""
FIRST_VALIDATION = 50
"""Step of the first validation."""
COOL_DOWN = 0.2
"""Fraction of the whole training in which the learning rate falls."""
_TOGETHER = 3
_LEAST_GAIN = 0.002
_LEAST_CLASS_GAIN = 0.01
_LEAST_DICE = 0.05
"""A model below it has found nothing yet, however long its Dice has been the same."""


def recent_gain(validations: Sequence[dict[str, Any]]) -> float | None:
    """Return by how much the mean Dice of the last three validations exceeds that of the three before them.

    None with fewer than six validations. They are records of the log, oldest first.
    """
    if len(validations) < 2 * _TOGETHER:
        return None
    dice = [float(one["dice"]) for one in validations]
    return _mean(dice[-_TOGETHER:]) - _mean(dice[-2 * _TOGETHER : -_TOGETHER])


def is_flat(validations: Sequence[dict[str, Any]]) -> bool:
    """Return whether validation has stopped improving, by the rule above."""
    gain = recent_gain(validations)
    if gain is None or gain >= _LEAST_GAIN or float(validations[-1]["dice"]) < _LEAST_DICE:
        return False
    by_class = zip(*(one["class_dice"] for one in validations[-2 * _TOGETHER :]), strict=True)
    gains = [_mean(values[_TOGETHER:]) - _mean(values[:_TOGETHER]) for values in by_class]
    return not any(one > _LEAST_CLASS_GAIN for one in gains)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
