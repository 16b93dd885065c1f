"""Charts of the measurements: scores, confidence, volumes, robustness."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Literal

from ldseg.app.report.measurements import VolumePoint
from ldseg.app.report.palette import class_color, css
from ldseg.app.report.plotting import (
    INK,
    NORMAL,
    SERIES,
    SMALL,
    Chart,
    Plot,
    limits_around,
    powers_around,
    readable,
    short_name,
)
from ldseg.data.units import pretty, size_unit
from ldseg.evaluation.calibration_report import CalibrationReport
from ldseg.evaluation.corruptions import CORRUPTIONS
from ldseg.evaluation.robustness import Robustness
from ldseg.evaluation.scores import Scores
from ldseg.metrics.calibration import Reliability
from ldseg.metrics.cine import CineMetrics
from ldseg.metrics.intervals import format_interval
from ldseg.metrics.risk_coverage import RiskPoint

_ROW = 0.34  # inches for a structure
_WIDE = 30.0  # largest over smallest volume from which the axes are logarithmic
_MOST_CINES = 12
_FAINT = 0.55


def dice_chart(scores: Scores) -> Chart:
    """Return a chart with a row per structure and a dot per case, with the mean and its interval."""
    names = list(scores.metrics)
    plot = Plot("Dice", "", (2 * NORMAL[0] + 0.4, 0.9 + _ROW * len(names)))
    intervals = [scores.interval(name, "dice") for name in names]
    ends = [max(0.0, one[0]) for one in intervals if one is not None]
    lowest = min([*ends, *(min(scores.values(name, "dice")) for name in names)])
    plot.limit((max(0.0, lowest - 0.05) if lowest > 0.5 else 0.0, 1.0), (len(names) - 0.5, -0.5))
    plot.axes.set_yticks(range(len(names)), [short_name(name) for name in names])
    plot.axes.grid(axis="y", visible=False)
    for row, (name, interval) in enumerate(zip(names, intervals, strict=True)):
        values = scores.values(name, "dice")
        # Equal values stay apart.
        dots = [(value, row + 0.11 * ((number % 5) - 2)) for number, value in enumerate(values)]
        tips = [f"{case}: {value:.3f}" for case, value in zip(scores.cases, values, strict=True)]
        plot.dots(dots, css(class_color(row)), tips, opacity=_FAINT)
        mean = sum(values) / len(values)
        if interval is not None:
            plot.axes.hlines(row, *interval, colors=INK, linewidth=2.2, zorder=3)
        plot.dots([(mean, row)], INK, [f"mean {mean:.3f} ({format_interval(interval, '.3f')})"], size=36)
    caption = "A dot is a case; the large one is the mean, the bar its 95 % interval."
    return plot.chart("dice", "Dice of each case", "Dice of each case by structure", caption, "chart wide")


def reliability_chart(name: str, title: str, unit: str, found: Reliability) -> Chart:
    """Return a reliability diagram: accuracy over confidence, with the diagonal; `unit` is "voxel" or
    "pixel"."""
    plot = Plot("confidence", "share that is right")
    plot.limit((0, 1), (0, 1))
    plot.guide((0, 0), (1, 1))
    for one in found.bins:
        plot.axes.bar(one.low, one.accuracy, one.high - one.low, align="edge", color=SERIES[0], alpha=0.22)
    most = max(one.voxels for one in found.bins)
    plot.dots(
        [(one.confidence, one.accuracy) for one in found.bins],
        SERIES[0],
        [
            f"confidence {one.confidence:.3f}, right {one.accuracy:.3f}, {one.voxels} {unit}s"
            for one in found.bins
        ],
        [(4 + 7 * (one.voxels / most) ** 0.5) ** 2 for one in found.bins],
    )
    caption = (
        f"Calibration error (ECE) {found.ece:.3f}; mean confidence {found.confidence:.3f}, accuracy "
        f"{found.accuracy:.3f} over {found.voxels:,} {unit}s. Confidence is the probability of the likeliest "
        f"class. On the diagonal it is what it says; dots below are too sure. Larger dots: more {unit}s."
    )
    return plot.chart(name, title, title, caption)


def cine_charts(scores: Scores) -> list[Chart]:
    """Return charts of the area over the frames, with dots where the reference is labelled.

    There is one chart per subject with several cines or, without such subjects, one per cine.
    """
    cines = islice(scores.subject_or_case_cine().items(), _MOST_CINES)
    return [_cine_chart(number, cine, by_class) for number, (cine, by_class) in enumerate(cines, start=1)]


def _cine_chart(number: int, cine: str, by_class: dict[str, CineMetrics]) -> Chart:
    areas = [a for one in by_class.values() for a in (*one.areas, *one.reference_areas) if a is not None]
    unit = pretty(size_unit("yx", all(one.physical for one in by_class.values())))
    last = max(len(one.areas) for one in by_class.values()) - 1
    plot = Plot("frame", f"area ({unit})", SMALL)
    plot.limit((0, max(1, last)), limits_around([0.0, *areas], zero=True))
    shown = [(name, css(class_color(index))) for index, name in enumerate(by_class)]
    for one, (name, color) in zip(by_class.values(), shown, strict=True):
        plot.axes.plot(one.areas, color=color)
        labelled = [(frame, area) for frame, area in enumerate(one.reference_areas) if area is not None]
        tips = [f"{name}, frame {frame}: reference {readable(area)} {unit}" for frame, area in labelled]
        plot.dots(labelled, color, tips)
    return plot.chart(f"cine_{number}", cine, f"area over the frames of {cine}", legend=shown)


def risk_chart(name: str, title: str, curve: Sequence[RiskPoint], risk: str, caption: str) -> Chart:
    """Return a chart of risk over coverage, beside the risk of a random order."""
    points = [(point.coverage, point.risk) for point in curve]
    plot = Plot("coverage: share kept, the surest first", risk)
    plot.limit((0, 1), limits_around([0.0, *(point.risk for point in curve)], zero=True))
    plot.guide((0, points[-1][1]), (1, points[-1][1]))
    plot.axes.plot(*zip(*points, strict=True), color=SERIES[0])
    plot.dots(points, SERIES[0], [f"coverage {x:.0%}: {risk} {value:.4f}" for x, value in points], size=10)
    return plot.chart(name, title, title, caption)


def confidence_chart(report: CalibrationReport) -> Chart:
    """Return a chart of each case's Dice over the Dice that the model expected."""
    floor = max(0.0, min(min(case.dice, case.confidence) for case in report.cases) - 0.05)
    plot = Plot("Dice that the model expects", "Dice that it has")
    plot.limit((floor, 1), (floor, 1))
    plot.guide((floor, floor), (1, 1))
    plot.dots(
        [(case.confidence, case.dice) for case in report.cases],
        SERIES[0],
        [f"{case.case}: expected {case.confidence:.3f}, has {case.dice:.3f}" for case in report.cases],
        opacity=_FAINT,
    )
    caption = "A dot is a case (and rater). Below the line the model promised more than it kept."
    return plot.chart("expected_dice", "Does it know its bad cases?", "Dice over expected Dice", caption)


def volume_chart(
    volumes: dict[str, tuple[VolumePoint, ...]], size: Literal["volume", "area"], unit: str, several: bool
) -> Chart | None:
    """Return a chart of predicted volumes (areas in 2D) with intervals over those of the reference; None if
    none is known."""
    points = [point for found in volumes.values() for point in found]
    positive = [v for p in points for v in (p.reference, p.estimate.mean) if v > 0]
    if not positive:
        return None
    wide = max(positive) > _WIDE * min(positive)
    estimates = [p.estimate for p in points]
    ends = [*positive, *(v for one in estimates for v in (one.low, one.mean, one.high))]
    limits = powers_around(ends) if wide else limits_around([*ends, *(p.reference for p in points)])
    plot = Plot(f"reference ({unit})", f"model ({unit})")
    plot.limit(limits, limits, logarithmic=wide)
    plot.guide((limits[0], limits[0]), (limits[1], limits[1]))
    shown = [(name, css(class_color(index))) for index, name in enumerate(volumes)]
    for (name, color), points in zip(shown, volumes.values(), strict=True):
        # A logarithmic axis has no place for 0: it is shown at the end of the axis.
        dots = [(max(p.reference, limits[0]), max(p.estimate.mean, limits[0])) for p in points]
        tips = [
            f"{p.case}, {name}: {readable(p.estimate.mean)} ({readable(p.estimate.low)} to "
            f"{readable(p.estimate.high)}), reference {readable(p.reference)}"
            for p in points
        ]
        bars = [(x, p.estimate) for (x, _), p in zip(dots, points, strict=True)]
        for x, estimate in bars:
            low, high = (min(max(end, limits[0]), limits[1]) for end in (estimate.low, estimate.high))
            plot.axes.vlines(x, low, high, colors=color, linewidth=0.9, alpha=0.7)
        plot.dots(dots, color, tips, opacity=_FAINT)
    caption = f"On the line the {size}s agree."
    if several:
        caption += " Bars are the 90 % intervals."
    return plot.chart("volumes", f"{size.title()}s", f"{size}s of model and reference", caption, legend=shown)


def robustness_charts(found: Robustness) -> list[Chart]:
    """Return a chart per complete corruption: mean Dice over strength, with its interval."""
    charts: list[Chart] = []
    for name, points in found.curves().items():
        strengths = CORRUPTIONS[name].strengths
        plot = Plot(CORRUPTIONS[name].meaning, "mean Dice", SMALL)
        plot.limit((strengths[0], strengths[-1]), (0, 1))
        pairs = list(zip(strengths, points, strict=True))
        ends = [(s, *point.mean_dice_interval) for s, point in pairs if point.mean_dice_interval is not None]
        if ends:
            x, low, high = zip(*ends, strict=True)
            plot.axes.fill_between(x, low, high, color=SERIES[0], alpha=0.18, linewidth=0)
        plot.axes.plot(strengths, [point.mean_dice for point in points], color=SERIES[0])
        tips = [f"{s:g}: {point.mean_dice:.3f}" for s, point in pairs]
        plot.dots([(s, point.mean_dice) for s, point in pairs], SERIES[0], tips, size=14)
        title = name.replace("_", " ")
        charts.append(plot.chart(f"robustness_{name}", title, f"mean Dice under {title}"))
    return charts
