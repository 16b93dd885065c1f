"""Named scalars of a record, for loggers that draw curves."""

from __future__ import annotations

from typing import Any

_VALIDATION = ("dice", "shuffled_dice", "ceiling", "latent_spread")


def scalars(record: dict[str, Any]) -> dict[str, float]:
    """Return "loss/NAME" for each loss or "validation/NAME" for each validation figure of the record."""
    if record["event"] == "losses":
        return {f"loss/{name}": float(value) for name, value in record["losses"].items()}
    if record["event"] == "validation":
        found = {f"validation/{name}": record.get(name) for name in _VALIDATION}
        classes = {f"validation/dice_class_{k}": one for k, one in enumerate(record["class_dice"], start=1)}
        return {name: float(value) for name, value in (found | classes).items() if value is not None}
    return {}
