"""Charts of training losses and validation scores."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from typing import Any

import numpy as np

from ldseg.app.report.html import figure, legend
from ldseg.app.report.palette import class_color, css
from ldseg.app.report.svg import Axis, Plot, Point, log_axis

_MOST_POINTS = 200
_SCORES = (
    ("dice", "validation", "var(--s1)"),
    ("ceiling", "autoencoder alone", "var(--s3)"),
    ("shuffled_dice", "with another case's image", "var(--s4)"),
)

Record = dict[str, Any]


def loss_chart(records: Sequence[Record]) -> str:
    """Return a chart of each loss term over the steps; empty if nothing was logged."""
    found = [record for record in records if record.get("event") == "losses"]
    names = sorted({name for record in found for name in record["losses"]})
    if not names:
        return ""
    series = {
        name: average_points(
            [(r["step"], r["losses"][name]) for r in found if isfinite(r["losses"].get(name, nan))]
        )
        for name in names
    }
    last = max(record["step"] for record in found)
    y = log_axis("loss", (value for points in series.values() for _, value in points))
    plot = Plot(Axis("training step", 0, last), y)
    colors = {name: f"var(--s{1 + n % 4})" for n, name in enumerate(names)}
    for name, points in series.items():
        plot.line(points, colors[name])
    return figure("Training loss", plot.svg("training loss over the steps") + legend(colors.items()))


def validation_chart(records: Sequence[Record], structures: Sequence[str]) -> str:
    """Return a chart of the validation Dice, the autoencoder ceiling and the Dice with another image.

    Empty if there was no validation.
    """
    found = [record for record in records if record.get("event") == "validation"]
    if not found:
        return ""
    plot = Plot(Axis("training step", 0, max(record["step"] for record in found)), Axis("Dice", 0, 1))
    shown: list[tuple[str, str]] = []
    for index, name in enumerate(structures):
        points = [(r["step"], r["class_dice"][index]) for r in found if index < len(r.get("class_dice", ()))]
        plot.line(points, css(class_color(index)), "thin")
        if len(structures) > 1:
            shown.append((name, css(class_color(index))))
    for key, name, color in _SCORES:
        points = [(record["step"], record[key]) for record in found if record.get(key) is not None]
        if points:
            plot.line(points, color)
            for step, value in points:
                plot.dot((step, value), color, f"{name}, step {step}: {value:.3f}", radius=2.5)
            shown.append((name, color))
    caption = (
        "On the network's grid. The autoencoder alone is a ceiling: labels encoded and decoded again. With "
        "another case's image the Dice should be much lower, or the model ignores its image."
    )
    return figure("Validation Dice", plot.svg("validation Dice over the steps") + legend(shown), caption)


def last_warnings(records: Sequence[Record]) -> list[str]:
    """Return the warnings of the last validation."""
    found = [record for record in records if record.get("event") == "validation"]
    return [str(line) for line in found[-1].get("warnings", ())] if found else []


def average_points(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """Return at most `most` points, each the mean of a group of neighbors."""
    if not points:
        return []
    groups = np.array_split(np.asarray(points, dtype=float), min(most, len(points)))
    return [(float(group[:, 0].mean()), float(group[:, 1].mean())) for group in groups]
