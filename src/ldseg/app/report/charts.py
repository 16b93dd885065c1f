"""Charts of the measurements: scores, confidence, volumes, robustness."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import sqrt

from ldseg.app.report.html import figure, legend
from ldseg.app.report.measurements import VolumePoint
from ldseg.app.report.palette import class_color, css
from ldseg.app.report.svg import Axis, Plot, Point, linear_axis, log_axis
from ldseg.data.units import pretty, size_unit
from ldseg.evaluation.calibration_report import CalibrationReport
from ldseg.evaluation.corruptions import CORRUPTIONS
from ldseg.evaluation.robustness import Robustness
from ldseg.evaluation.scores import Scores
from ldseg.metrics.calibration import Reliability
from ldseg.metrics.cine import CineMetrics
from ldseg.metrics.intervals import format_interval
from ldseg.metrics.risk_coverage import RiskPoint

_ROW = 34  # pixels for a class
_LETTER, _LONGEST = 7.2, 36  # pixels of one, and how many of a class's name
_WIDE = 30.0  # largest over smallest volume from which the axes are logarithmic
_MOST_CINES = 12
_GUIDE = "var(--guide)"


def dice_chart(scores: Scores) -> str:
    """Return a chart with a row per structure and a dot per case, with the mean and its interval."""
    names = list(scores.metrics)
    y = Axis("", 0, len(names))
    lowest = min(min(scores.values(name, "dice")) for name in names)
    plot = Plot(
        Axis("Dice", max(0.0, lowest - 0.05) if lowest > 0.5 else 0.0, 1.0),
        y,
        width=960,
        height=60 + _ROW * len(names),
        left=24 + round(_LETTER * max(len(_short(name)) for name in names)),
        rules=False,
    )
    for row, name in enumerate(names):
        height, color = len(names) - row - 0.5, css(class_color(row))
        plot.words((plot.x.low, height), _short(name), "end", shift=-8)
        values = scores.values(name, "dice")
        for number, (case, value) in enumerate(zip(scores.cases, values, strict=True)):
            spread = 0.11 * ((number % 5) - 2)  # so that equal values stay apart
            plot.dot((value, height + spread), color, f"{case}: {value:.3f}", "faint")
        interval = scores.interval(name, "dice")
        mean = sum(values) / len(values)
        if interval is not None:
            plot.line([(end, height) for end in interval], "var(--ink)", "interval")
        plot.dot(
            (mean, height), "var(--ink)", f"mean {mean:.3f} ({format_interval(interval, '.3f')})", radius=5
        )
    caption = "A dot is a case; the large one is the mean, the bar its 95 % interval."
    return figure("Dice of each case", plot.svg("Dice of each case by structure"), caption, "chart wide")


def reliability_chart(title: str, found: Reliability) -> str:
    """Return a reliability diagram: accuracy over confidence, with the diagonal."""
    plot = Plot(Axis("confidence", 0, 1), Axis("share that is right", 0, 1))
    plot.line([(0, 0), (1, 1)], _GUIDE, "guide")
    most = max(one.voxels for one in found.bins)
    for one in found.bins:
        words = f"confidence {one.confidence:.3f}, right {one.accuracy:.3f}, {one.voxels} voxels"
        plot.bar((one.low, 0), (one.high, one.accuracy), "var(--s1)", words, "pale")
        size = 3 + 5 * sqrt(one.voxels / most)
        plot.dot((one.confidence, one.accuracy), "var(--s1)", words, radius=size)
    caption = (
        f"Calibration error (ECE) {found.ece:.3f}; mean confidence {found.confidence:.3f}, accuracy "
        f"{found.accuracy:.3f} over {found.voxels:,} voxels. On the diagonal a confidence is what it says; "
        "dots below it are too sure. Larger dots stand for more voxels."
    )
    return figure(title, plot.svg(title), caption)


def cycle_charts(scores: Scores) -> list[str]:
    """Return charts of the area over the frames, with dots where the reference is labelled.

    There is one chart per subject with several cines or, without such subjects, one per cine.
    """
    cines = islice(scores.subject_or_case_cine().items(), _MOST_CINES)
    return [_cycle_chart(cine, by_class) for cine, by_class in cines]


def _cycle_chart(cine: str, by_class: dict[str, CineMetrics]) -> str:
    cycles = by_class.values()
    areas = [area for one in cycles for area in (*one.areas, *one.reference_areas) if area is not None]
    unit = pretty(size_unit("yx", all(one.physical for one in cycles)))
    last = max(len(one.areas) for one in cycles) - 1
    y = linear_axis(f"area ({unit})", [0.0, *areas], zero=True)
    plot = Plot(Axis("frame", 0, max(1, last)), y, width=320, height=230)
    shown = [(name, css(class_color(index))) for index, name in enumerate(by_class)]
    for one, (name, color) in zip(cycles, shown, strict=True):
        plot.line(list(enumerate(one.areas)), color)
        for frame, area in enumerate(one.reference_areas):
            if area is not None:
                plot.dot((frame, area), color, f"{name}, frame {frame}: reference {area:.4g} {unit}")
    return figure(cine, plot.svg(f"area over the frames of {cine}") + legend(shown))


def risk_chart(title: str, curve: Sequence[RiskPoint], risk: str, caption: str) -> str:
    """Return a chart of risk over coverage, beside the risk of a random order."""
    points: list[Point] = [(point.coverage, point.risk) for point in curve]
    y = linear_axis(risk, [0.0, *(point.risk for point in curve)], zero=True)
    plot = Plot(Axis("coverage: share kept, the surest first", 0, 1), y)
    plot.line([(0, points[-1][1]), (1, points[-1][1])], _GUIDE, "guide")
    plot.line(points, "var(--s1)")
    for x, value in points:
        plot.dot((x, value), "var(--s1)", f"coverage {x:.0%}: {risk} {value:.4f}", radius=2.5)
    return figure(title, plot.svg(title), caption)


def confidence_chart(report: CalibrationReport) -> str:
    """Return a chart of each case's Dice over the Dice that the model expected."""
    low = min(min(case.dice, case.confidence) for case in report.cases)
    floor = max(0.0, low - 0.05)
    plot = Plot(Axis("Dice that the model expects", floor, 1), Axis("Dice that it has", floor, 1))
    plot.line([(floor, floor), (1, 1)], _GUIDE, "guide")
    for case in report.cases:
        words = f"{case.case}: expected {case.confidence:.3f}, has {case.dice:.3f}"
        plot.dot((case.confidence, case.dice), "var(--s1)", words, "faint")
    caption = "A dot is a case (and rater). Below the line the model promised more than it kept."
    return figure("Does it know its bad cases?", plot.svg("Dice over expected Dice"), caption)


def volume_chart(volumes: dict[str, tuple[VolumePoint, ...]], unit: str, several: bool) -> str:
    """Return a chart of predicted volumes with intervals over reference volumes; empty if none is known."""
    ends = [v for points in volumes.values() for p in points for v in (p.reference, p.estimate.mean)]
    positive = [value for value in ends if value > 0]
    if not positive:
        return ""
    wide = max(positive) > _WIDE * min(positive)
    names = f"reference ({unit})", f"model ({unit})"
    x, y = (log_axis(name, positive) if wide else linear_axis(name, ends) for name in names)
    plot = Plot(x, y)
    plot.line([(x.low, x.low), (x.high, x.high)], _GUIDE, "guide")
    shown: list[tuple[str, str]] = []
    for index, (name, points) in enumerate(volumes.items()):
        color = css(class_color(index))
        shown.append((name, color))
        for point in points:
            one = point.estimate
            if one.high > one.low:
                plot.line([(point.reference, one.low), (point.reference, one.high)], color, "thin")
            words = f"{point.case}, {name}: {one.mean:.4g} ({one.low:.4g} to {one.high:.4g}), reference "
            plot.dot((point.reference, one.mean), color, f"{words}{point.reference:.4g}", "faint")
    caption = "On the line the volumes agree."
    if several:
        caption += " Bars are the 5 to 95 % interval over the samples."
    return figure("Volumes", plot.svg("volumes of model and reference") + legend(shown), caption)


def robustness_charts(found: Robustness) -> list[str]:
    """Return a chart per complete corruption: mean Dice over strength, with its interval."""
    charts: list[str] = []
    for name, points in found.curves().items():
        strengths = CORRUPTIONS[name].strengths
        plot = Plot(
            Axis(CORRUPTIONS[name].meaning, strengths[0], strengths[-1]),
            Axis("mean Dice", 0, 1),
            width=320,
            height=230,
        )
        pairs = list(zip(strengths, points, strict=True))
        ends = [(s, *point.mean_dice_interval) for s, point in pairs if point.mean_dice_interval is not None]
        if ends:
            plot.band([(s, low) for s, low, _ in ends], [(s, high) for s, _, high in ends], "var(--s1)")
        plot.line([(s, point.mean_dice) for s, point in pairs], "var(--s1)")
        for s, point in pairs:
            plot.dot((s, point.mean_dice), "var(--s1)", f"{s:g}: {point.mean_dice:.3f}", radius=3)
        title = name.replace("_", " ")
        charts.append(figure(title, plot.svg(f"mean Dice under {title}")))
    return charts


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
