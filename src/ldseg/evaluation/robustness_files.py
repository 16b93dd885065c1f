"""Read and write the files of a robustness sweep: robustness.json, robustness.csv and robustness.png.

    {"version": 4, "setup": {..}, "points": [{"corruption", "strength", "mean_dice", "mean_dice_interval",
     "cases": {CASE: {CLASS: {METRIC: ..}}}}]}

The point "clean" is the first strength of every corruption.
"""

from __future__ import annotations

import csv
import io
from dataclasses import fields, replace
from pathlib import Path

from matplotlib.figure import Figure

from ldseg.errors import InputError
from ldseg.evaluation.corruptions import CORRUPTIONS
from ldseg.evaluation.robustness import Robustness, RobustnessSetup
from ldseg.settings import SamplingSettings, is_stepwise
from ldseg.utils.serialization import (
    from_json,
    read_versioned,
    to_json,
    write_bytes_atomic,
    write_json_atomic,
)

JSON_FILE, CSV_FILE, PLOT_FILE = "robustness.json", "robustness.csv", "robustness.png"
VERSION = 4
_OLDEST = 3
_COLUMNS = 4


def resume_sweep(out: Path, fresh: Robustness) -> Robustness:
    """Return the stored part of the sweep `fresh` from the folder `out`, or `fresh` itself without one.

    Raises InputError when the folder has a sweep with another setup, or a damaged one.
    """
    path = out / JSON_FILE
    if not path.exists():
        return fresh
    found = read_robustness(path)
    for field in fields(RobustnessSetup):
        before, now = getattr(found.setup, field.name), getattr(fresh.setup, field.name)
        if before != now:
            raise InputError(
                f"{path}: is of a sweep with a different setup ({field.name.replace('_', ' ')}: "
                f"{_short(before)}, now {_short(now)}); choose another folder with -o, or remove it to "
                "measure anew"
            )
    return found


def read_robustness(path: Path) -> Robustness:
    """Read what `write_robustness` wrote. Raises InputError for a missing, damaged or newer file."""
    data = read_versioned(path, VERSION, "remove it to measure anew", oldest=_OLDEST)
    found = from_json(Robustness, data, str(path))
    asked, stepwise = found.setup.sampling, is_stepwise(found.setup.baseline)
    if stepwise or asked.sampler is None:
        return found
    # Version 3 has the settings as they are, with a sampler also of a model without steps.
    told = asked.settings(SamplingSettings()).record(stepwise)
    return replace(found, setup=replace(found.setup, sampling=told))


def write_robustness(out: Path, found: Robustness) -> None:
    """Write robustness.json. Raises InputError when the disk refuses."""
    write_json_atomic(out / JSON_FILE, {"version": VERSION, **to_json(found)})


def write_table_and_plot(out: Path, found: Robustness) -> None:
    """Write the table and the plot of what was measured. Raises InputError when the disk refuses."""
    write_bytes_atomic(out / CSV_FILE, to_csv(found).encode())
    write_bytes_atomic(out / PLOT_FILE, to_png(found))


def to_csv(found: Robustness) -> str:
    """Return a CSV table with one row per corruption, strength, case and class."""
    rows = [
        {"corruption": point.corruption, "strength": point.strength, "case": case, "class": name, **metrics}
        for point in found.points
        for case, classes in point.cases.items()
        for name, metrics in classes.items()
    ]
    text = io.StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def to_png(found: Robustness) -> bytes:
    """Return a PNG plot of mean Dice and its interval over strength, one panel per complete corruption."""
    curves = found.curves()
    columns = max(1, min(_COLUMNS, len(curves)))
    rows = max(1, -(-len(curves) // columns))
    figure = Figure(figsize=(3.2 * columns, 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    for panel, (name, points) in zip(panels, curves.items(), strict=False):
        strengths = CORRUPTIONS[name].strengths
        intervals = [point.mean_dice_interval for point in points if point.mean_dice_interval is not None]
        if len(intervals) == len(points):
            lows, highs = zip(*intervals, strict=True)
            panel.fill_between(strengths, lows, highs, alpha=0.25, linewidth=0)
        panel.plot(strengths, [point.mean_dice for point in points], marker=".")
        panel.set(title=name.replace("_", " "), xlabel=CORRUPTIONS[name].meaning, ylim=(0, 1))
        panel.grid(alpha=0.3)
    for row in panels.reshape(rows, columns):
        row[0].set_ylabel("mean Dice")
    setup = found.setup
    model = setup.baseline if setup.baseline != "none" else f"ldseg, {setup.preset}"
    figure.suptitle(f"{model} on {setup.data}, {len(setup.cases)} cases")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    return image.getvalue()


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
