"""Charts of training losses and validation scores."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from typing import Any

import numpy as np

from ldseg.app.report.palette import class_color, css
from ldseg.app.report.plotting import INK, SERIES, Chart, Plot, Point, powers_around

_MOST_POINTS = 200
_SCORES = (
    ("dice", "validation", INK),
    ("ceiling", "autoencoder alone", SERIES[2]),
    ("shuffled_dice", "with another case's image", SERIES[3]),
)

Record = dict[str, Any]


def loss_chart(records: Sequence[Record]) -> Chart | None:
    """Return a chart of each loss term over the steps; None if nothing was logged."""
    found = [record for record in records if record.get("event") == "losses"]
    names = sorted({name for record in found for name in record["losses"]})
    if not names:
        return None
    series = {
        name: average_points(
            [(r["step"], r["losses"][name]) for r in found if isfinite(r["losses"].get(name, nan))]
        )
        for name in names
    }
    limits = powers_around(value for points in series.values() for _, value in points)
    plot = Plot("training step", "loss")
    plot.limit((0, max(1, *(record["step"] for record in found))))
    plot.limit(y=limits, logarithmic=True)
    legend = [(name, SERIES[number % len(SERIES)]) for number, name in enumerate(names)]
    for name, color in legend:
        steps, values = zip(*series[name], strict=True) if series[name] else ((), ())
        plot.axes.plot(steps, [max(value, limits[0]) for value in values], color=color)
    return plot.chart("training_loss", "Training loss", "training loss over the steps", legend=legend)


def validation_chart(records: Sequence[Record], structures: Sequence[str]) -> Chart | None:
    """Return a chart of the validation Dice, the autoencoder ceiling and the Dice with another image.

    None if there was no validation.
    """
    found = [record for record in records if record.get("event") == "validation"]
    if not found:
        return None
    plot = Plot("training step", "Dice")
    plot.limit((0, max(1, *(record["step"] for record in found))), (0, 1))
    legend: list[tuple[str, str]] = []
    for index, name in enumerate(structures):
        color = css(class_color(index))
        points = [(r["step"], r["class_dice"][index]) for r in found if index < len(r.get("class_dice", ()))]
        plot.axes.plot(*zip(*points, strict=True), color=color, linewidth=0.9, alpha=0.7)
        if len(structures) > 1:
            legend.append((name, color))
    for key, name, color in _SCORES:
        points = [(record["step"], record[key]) for record in found if record.get(key) is not None]
        if points:
            plot.axes.plot(*zip(*points, strict=True), color=color)
            tips = [f"{name}, step {step}: {value:.3f}" for step, value in points]
            plot.dots(points, color, tips, size=10)
            legend.append((name, color))
    caption = (
        "On the network's grid. The autoencoder alone is a ceiling: labels encoded and decoded again. With "
        "another case's image the Dice should be much lower, or the model ignores its image."
    )
    description = "validation Dice over the steps"
    return plot.chart("validation_dice", "Validation Dice", description, caption, legend=legend)


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
