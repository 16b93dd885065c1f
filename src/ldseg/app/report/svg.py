"""Line charts as inline SVG, with colors of the style sheet for light, dark and print.

A chart is a `Plot` to which marks are added one by one. Coordinates are those of the data; values outside an
axis are clipped to its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from ldseg.app.report.html import text

Point = tuple[float, float]

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 42
_MOST_TICKS = 7


@dataclass(frozen=True)
class Axis:
    """An axis of a chart from `low` to `high` (> low)."""

    label: str
    low: float
    high: float
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Return the position of a value on the axis, 0 to 1."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = log10(max(value, low)), log10(low), log10(high)
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def ticks(self) -> list[float]:
        """Return round values along the axis."""
        if self.logarithmic:
            powers = range(ceil(log10(self.low) - 1e-9), floor(log10(self.high) + 1e-9) + 1)
            return [10.0**power for power in powers]
        step = _round_step((self.high - self.low) / _MOST_TICKS)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def linear_axis(label: str, values: Iterable[float], zero: bool = False) -> Axis:
    """Return an axis around all values with a margin, from 0 if `zero`."""
    found = list(values)
    low, high = min(found, default=0.0), max(found, default=1.0)
    low = min(0.0, low) if zero else low
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return Axis(label, low if zero else low - margin, high + margin)


def log_axis(label: str, values: Iterable[float]) -> Axis:
    """Return a logarithmic axis over whole powers of ten; values of 0 and below are ignored."""
    found = [value for value in values if value > 0]
    low, high = floor(log10(min(found, default=0.1))), ceil(log10(max(found, default=1.0)))
    return Axis(label, 10.0**low, 10.0 ** max(high, low + 1), logarithmic=True)


class Plot:
    """A chart under construction; `color` is any CSS color."""

    def __init__(
        self, x: Axis, y: Axis, width: int = 460, height: int = 290, left: int = _LEFT, rules: bool = True
    ) -> None:
        """Set the size in pixels, the left margin and whether y has grid lines (`rules`)."""
        self.x, self.y = x, y
        self._width, self._height, self._left, self._rules = width, height, left, rules
        self._marks: list[str] = []

    def place(self, point: Point) -> Point:
        """Return a data point in pixels of the drawing."""
        across = self._width - self._left - _RIGHT
        up = self._height - _TOP - _BOTTOM
        return self._left + across * self.x.share(point[0]), _TOP + up * (1 - self.y.share(point[1]))

    def line(self, points: Sequence[Point], color: str, kind: str = "line") -> None:
        """Add a line through the points; `kind` is a class of the style sheet (line, thin, guide)."""
        self._marks.append(f'<polyline class="{kind}" style="stroke:{color}" points="{self._list(points)}"/>')

    def band(self, lower: Sequence[Point], upper: Sequence[Point], color: str) -> None:
        """Add the area between two lines."""
        around = self._list([*lower, *reversed(upper)])
        self._marks.append(f'<polygon class="band" style="fill:{color}" points="{around}"/>')

    def dot(self, point: Point, color: str, title: str = "", kind: str = "dot", radius: float = 3.5) -> None:
        """Add a dot; `title` is shown on hover."""
        x, y = self.place(point)
        self._marks.append(
            f'<circle class="{kind}" style="fill:{color}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{text(title)}</title></circle>"
        )

    def bar(self, low: Point, high: Point, color: str, title: str = "", kind: str = "bar") -> None:
        """Add a rectangle between two corners."""
        (left, bottom), (right, top) = self.place(low), self.place(high)
        self._marks.append(
            f'<rect class="{kind}" style="fill:{color}" x="{left:.1f}" y="{top:.1f}" '
            f'width="{right - left:.1f}" height="{bottom - top:.1f}"><title>{text(title)}</title></rect>'
        )

    def words(self, point: Point, words: str, anchor: str = "start", shift: float = 0.0) -> None:
        """Add text centered on a height; `anchor` is start, middle or end, `shift` in pixels to the right."""
        x, y = self.place(point)
        self._marks.append(
            f'<text x="{x + shift:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{text(words)}</text>'
        )

    def svg(self, title: str) -> str:
        """Return the drawing; `title` is its text for screen readers."""
        return (
            f'<svg class="plot" viewBox="0 0 {self._width} {self._height}" role="img" '
            f'aria-label="{text(title)}">{self._frame()}{"".join(self._marks)}</svg>'
        )

    def _frame(self) -> str:
        left, bottom = self.place((self.x.low, self.y.low))
        right, top = self.place((self.x.high, self.y.high))
        parts: list[str] = []
        for value in self.x.ticks():
            at = self.place((value, self.y.low))[0]
            parts.append(f'<line class="rule" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{bottom}"/>')
            parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{_short(value)}</text>')
        for value in self.y.ticks() if self._rules else ():
            at = self.place((self.x.low, value))[1]
            parts.append(f'<line class="rule" x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{_short(value)}</text>')
        middle, centre = (left + right) / 2, (top + bottom) / 2
        parts.append(
            f'<text class="label" x="{middle}" y="{self._height - 6}" text-anchor="middle">'
            f"{text(self.x.label)}</text>"
        )
        parts.append(
            f'<text class="label" transform="translate(12 {centre}) rotate(-90)" text-anchor="middle">'
            f"{text(self.y.label)}</text>"
        )
        return "".join(parts)

    def _list(self, points: Sequence[Point]) -> str:
        return " ".join("{:.1f},{:.1f}".format(*self.place(point)) for point in points)


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2 or 5 times a power of ten that is at least `least`."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _short(value: float) -> str:
    """Return the short label of a tick."""
    if value and abs(value) < 1e-3:
        return f"{value:.0e}"
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * unit:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"
