"""The training log as JSON lines (log.jsonl) and a figure of the curves (curves.png)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from ldseg.runs.files import CURVES_FILE, LOG_FILE
from ldseg.utils.serialization import refused, write_bytes_atomic

Record = dict[str, Any]


def append_record(folder: Path, record: Record) -> None:
    """Append a line to the log. Raises InputError if it cannot be written."""
    path = folder / LOG_FILE
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise refused(path, error) from error


def append_once(folder: Path, record: Record) -> None:
    """Append a record unless the last of its event is the same: what is repeated after a kill is told once.

    Raises InputError if the log cannot be written.
    """
    stored = json.loads(json.dumps(record))
    events = [one for one in read_records(folder) if one["event"] == record["event"]]
    if not events or events[-1] != stored:
        append_record(folder, record)


def read_records(folder: Path) -> list[Record]:
    """Return the records of the log, oldest first, without a line that a crash has truncated."""
    path = folder / LOG_FILE
    if not path.is_file():
        return []
    records: list[Record] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def last_validation_dice(records: Sequence[Record]) -> float | None:
    """Return the Dice of the last validation, None if there was none."""
    return next((one["dice"] for one in reversed(records) if one["event"] == "validation"), None)


def drop_records_after(folder: Path, step: int) -> None:
    """Remove the records of steps after `step`, which a resumed training repeats."""
    kept = [record for record in read_records(folder) if record.get("step", 0) <= step]
    text = "".join(json.dumps(record) + "\n" for record in kept)
    write_bytes_atomic(folder / LOG_FILE, text.encode())


def draw_curves(folder: Path) -> None:
    """Plot losses and validation Dice over the steps. Raises InputError if the file cannot be written."""
    from matplotlib.figure import Figure

    records = read_records(folder)
    steps = [r for r in records if r["event"] == "losses"]
    validations = [r for r in records if r["event"] == "validation"]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for part in sorted({name for r in steps for name in r["losses"]}):
        losses.plot([r["step"] for r in steps], [r["losses"].get(part) for r in steps], label=part)
    for name, label in (("dice", "validation"), ("ceiling", "autoencoder"), ("shuffled_dice", "other image")):
        values = [(r["step"], r[name]) for r in validations if r.get(name) is not None]
        if values:
            scores.plot(*zip(*values, strict=True), marker=".", label=label)
    losses.set(xlabel="step", ylabel="loss", yscale="log", title="Training loss")
    scores.set(xlabel="step", ylabel="Dice", ylim=(0, 1), title="Validation")
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        if axes.has_data():
            axes.legend()
    content = BytesIO()
    figure.savefig(content, dpi=120, format="png")
    write_bytes_atomic(folder / CURVES_FILE, content.getvalue())
