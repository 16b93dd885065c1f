"""The tables of `torture.py`: what was tried, what came of it, and the most that it took."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_table import Record, table

_COLUMNS = {
    "tried": 0,
    "refused": 0,
    "accepted": 0,
    "faults": 0,
    "cpu_s": 2,
    "peak_gb": 2,
}
"""Figure of a kind of input to its digits after the point."""
_PARTS = {
    "kill -9 of a training, each followed by resume": "kills_training_kills",
    "trainings that ended bit-equal to the uninterrupted one": "kills_trainings_ended",
    "kill -9 of a prediction": "kills_prediction_kills",
    "commands on a full disk": "full_disks_times",
    "of these refused in one line, nothing lost": "full_disks_refused",
    "predictions, 4 formats in 48 orientations, half of them oblique": "orientations_predicted",
    "faults in all": "faults",
}


def torture_tables(records: Sequence[Record]) -> str:
    """Inputs by kind, then the other parts; empty without records."""
    if not records:
        return ""
    found = {record["metric"]: record["value"] for record in records}
    kinds = [metric.removesuffix("_tried") for metric in found if metric.endswith("_tried")]
    inputs = [
        (
            kind.replace("_", " "),
            *(f"{found[f'{kind}_{name}']:.{digits}f}" for name, digits in _COLUMNS.items()),
        )
        for kind in kinds
    ]
    columns = ("input", "tried", "refused in one line", "accepted", "faults", "most CPU s", "largest GB")
    total = sum(found[f"{kind}_tried"] for kind in kinds)
    parts = [(f"inputs of {len(kinds)} kinds", f"{total:.0f}")]
    parts += [(words, f"{found[metric]:.0f}") for words, metric in _PARTS.items() if metric in found]
    first = records[0]
    about = (
        f"Bounds: {first['split'].removeprefix('bounds: ')}. Commit {first['commit']}, seed {first['seed']}."
    )
    return "\n\n".join([about, table(columns, inputs), table(("tried", "number"), parts)])
