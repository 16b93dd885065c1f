"""Warn of structures that no training case has, as a class that occurs in validation cases alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ldseg.errors import listed
from ldseg.planning.plan import Plan
from ldseg.preprocessing.cache import Cache


def warn_of_unlearned(
    cache: Cache, names: Sequence[str], plan: Plan, on_event: Callable[[dict[str, Any]], None]
) -> None:
    """Report a warning where some structure of `plan` has no voxel in any case of `names`."""
    unseen = set(range(1, len(plan.classes)))
    for name in names:
        if not unseen:
            return
        unseen -= cache.structures(name)
    if unseen:
        lacking = listed([name for k, name in enumerate(plan.classes) if k in unseen], 10)
        warning = f"no training case has {lacking}, which the model cannot learn so; see splits.json"
        on_event({"event": "warning", "warnings": [warning]})
