"""The tables of `calibration.py`: how far confidence can be trusted, as it is and calibrated."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_table import Record, table
from plots import shown
from runs import name_of

_COLUMNS = {
    "ECE": ("ece", 4),
    "ECE near": ("ece_near", 4),
    "class-wise ECE": ("classwise_ece", 4),
    "Brier": ("brier", 4),
    "NLL": ("nll", 4),
    "AURC of voxels, 1e-3": ("aurc", 3),
    "AURC of cases": ("case_aurc", 3),
    "volumes in 90 % intervals": ("interval_coverage", 2),
}
_KINDS = {"as it is": "", "calibrated": "_calibrated"}


def calibration_tables(title: str, records: Sequence[Record]) -> str:
    """Return a table of one set and budget with one row per model, seed and kind."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for record in records:
        key = (name_of(record["model"], record["preset"]), str(record["seed"]))
        rows.setdefault(key, {})[record["metric"]] = record["value"]
    lines = [
        (model, seed, kind, *(_cell(found, metric + suffix, digits) for metric, digits in _COLUMNS.values()))
        for (model, seed), found in rows.items()
        for kind, suffix in _KINDS.items()
    ]
    picture = shown("calibration", records[0]["data"], records[0]["budget_minutes"])
    return "\n\n".join((title, table(("model", "seed", "answer", *_COLUMNS), lines), picture))


def _cell(found: dict[str, float], metric: str, digits: int) -> str:
    if metric not in found:
        return "-"
    scale = 1000.0 if metric.startswith("aurc") else 1.0
    return f"{scale * found[metric]:.{digits}f}"
