"""What happened, as JSON lines (log.jsonl) and a picture of the curves (curves.png)."""

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
    """One line at the end of the log. Raises InputError when the disk refuses."""
    path = folder / LOG_FILE
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise refused(path, error) from error


def read_records(folder: Path) -> list[Record]:
    """All whole lines of the log, oldest first; a line cut short by a crash is left out."""
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


def last_dice(records: Sequence[Record]) -> float | None:
    """Return the Dice of the last validation, None where there was none."""
    return next((one["dice"] for one in reversed(records) if one["event"] == "validation"), None)


def forget_after(folder: Path, step: int) -> None:
    """Drop the lines of steps after `step`, which a resumed training is going to repeat."""
    kept = [record for record in read_records(folder) if record.get("step", 0) <= step]
    text = "".join(json.dumps(record) + "\n" for record in kept)
    write_bytes_atomic(folder / LOG_FILE, text.encode())


def draw_curves(folder: Path) -> None:
    """Losses and validation Dice over the steps, to curves.png. Raises InputError when the disk refuses."""
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
    picture = BytesIO()
    figure.savefig(picture, dpi=120, format="png")
    write_bytes_atomic(folder / CURVES_FILE, picture.getvalue())
