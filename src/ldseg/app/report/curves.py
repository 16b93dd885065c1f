"""Charts of the training, from the lines of its log."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from typing import Any

import numpy as np

from ldseg.app.report.html import figure, legend
from ldseg.app.report.palette import class_colour, css
from ldseg.app.report.svg import Axis, Plot, Point, log_axis

_MOST_POINTS = 200
_SCORES = (
    ("dice", "validation", "var(--s1)"),
    ("ceiling", "autoencoder alone", "var(--s3)"),
    ("shuffled_dice", "with another case's image", "var(--s4)"),
)

Record = dict[str, Any]


def loss_chart(records: Sequence[Record]) -> str:
    """Each part of the loss over the steps; empty when nothing was logged."""
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
    colours = {name: f"var(--s{1 + n % 4})" for n, name in enumerate(names)}
    for name, points in series.items():
        plot.line(points, colours[name])
    return figure("Training loss", plot.svg("training loss over the steps") + legend(colours.items()))


def validation_chart(records: Sequence[Record], structures: Sequence[str]) -> str:
    """Dice at each validation, with what tells a sound model from a broken one; empty without any."""
    found = [record for record in records if record.get("event") == "validation"]
    if not found:
        return ""
    plot = Plot(Axis("training step", 0, max(record["step"] for record in found)), Axis("Dice", 0, 1))
    shown: list[tuple[str, str]] = []
    for index, name in enumerate(structures):
        points = [(r["step"], r["class_dice"][index]) for r in found if index < len(r.get("class_dice", ()))]
        plot.line(points, css(class_colour(index)), "thin")
        if len(structures) > 1:
            shown.append((name, css(class_colour(index))))
    for key, name, colour in _SCORES:
        points = [(record["step"], record[key]) for record in found if record.get(key) is not None]
        if points:
            plot.line(points, colour)
            for step, value in points:
                plot.dot((step, value), colour, f"{name}, step {step}: {value:.3f}", radius=2.5)
            shown.append((name, colour))
    caption = (
        "On the network's grid. The autoencoder alone is a ceiling: labels encoded and decoded again. With "
        "another case's image the Dice should be much lower, or the model ignores its image."
    )
    return figure("Validation Dice", plot.svg("validation Dice over the steps") + legend(shown), caption)


def last_warnings(records: Sequence[Record]) -> list[str]:
    """What the last validation warned of."""
    found = [record for record in records if record.get("event") == "validation"]
    return [str(line) for line in found[-1].get("warnings", ())] if found else []


def average_points(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """At most `most` points, each the mean of its neighbours."""
    if not points:
        return []
    groups = np.array_split(np.asarray(points, dtype=float), min(most, len(points)))
    return [(float(group[:, 0].mean()), float(group[:, 1].mean())) for group in groups]
