"""Charts of the report as matplotlib figures: inline SVG in the page, PDF and SVG in files.

The colors are those of the light page. In the page each is replaced by the variable of the style sheet that
has it, so that a chart follows the reader's light or dark screen, and print. Nothing in a drawing depends on
when or where it was made.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from math import ceil, floor, log10
from typing import Any
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

Point = tuple[float, float]
Limits = tuple[float, float]

THEME = {
    "ink": "#1b2026",
    "soft": "#5b6672",
    "rule": "#dde3e8",
    "guide": "#9aa6b1",
    "s1": "#2272c3",
    "s2": "#c8731a",
    "s3": "#2c8f5c",
    "s4": "#a8479b",
}
"""Variables of page.css with their colors on a light screen."""
INK, GUIDE = THEME["ink"], THEME["guide"]
SERIES = tuple(THEME[f"s{number}"] for number in range(1, 5))
NORMAL, SMALL = (4.6, 2.9), (3.2, 2.3)  # inches

_STYLE: dict[str, Any] = {
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # a structure's name may hold a dollar sign
    "text.color": THEME["soft"],
    "axes.labelcolor": THEME["soft"],
    "xtick.color": THEME["soft"],
    "ytick.color": THEME["soft"],
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "axes.grid": True,
    "grid.color": THEME["rule"],
    "axes.axisbelow": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.spines.bottom": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "pdf.fonttype": 42,
}
_LEGEND_COLUMNS, _LEGEND_ROW = 3, 0.19  # inches
_LEGEND_LETTER, _LEGEND_HANDLE = 0.075, 0.35  # inches of an entry in a legend
_LONGEST_NAME = 36
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_MARKS = {f"{_SVG}use", f"{_SVG}path"}
_DECIMALS = re.compile(r"(\.\d\d)\d+")
_FONT = re.compile(r"font-family:[^;]*;?\s*")


def short_number(value: float, _: object = None) -> str:
    """Return the short label of a tick."""
    if value and abs(value) < 1e-3:
        return f"{value:.0e}"
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * unit:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


def readable(value: float) -> str:
    """Return a size or length with four digits or all before the point, never as a power of ten."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value >= 1e-4 or value == 0 else f"{value:.6f}"


_TICKS = FuncFormatter(short_number)


@dataclass(frozen=True)
class Chart:
    """A drawing of the page and of the folder of figures."""

    name: str
    """Name of its files without ending; unique in a report."""
    title: str
    description: str
    """What it shows, for screen readers."""
    figure: Figure
    caption: str = ""
    kind: str = "chart"
    """Classes of the style sheet."""
    tips: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Text that a mark shows under the pointer, in the order of the marks, by the id of their group."""

    def svg(self) -> str:
        """Return the drawing to be put into a page, with its tips."""
        root = ElementTree.fromstring(self.to_bytes("svg"))
        _keep_drawing_only(root)
        shapes = {shape for definitions in root.iter(f"{_SVG}defs") for shape in definitions}
        for group in root.iter(f"{_SVG}g"):
            marks = [one for one in group.iter() if one.tag in _MARKS and one not in shapes]
            for mark, text in zip(marks, self.tips.get(group.get("id", ""), ()), strict=False):
                ElementTree.SubElement(mark, f"{_SVG}title").text = text
        _make_inline(root, self.description)
        drawing = ElementTree.tostring(root, encoding="unicode")
        for variable, color in THEME.items():
            drawing = drawing.replace(color, f"var(--{variable})")
        return drawing

    def to_bytes(self, file_format: str) -> bytes:
        """Return the content of a file in the format "svg" or "pdf"."""
        content = BytesIO()
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}[file_format]
        with styled(self.name):
            self.figure.savefig(content, format=file_format, metadata=metadata)
        return content.getvalue()


class Plot:
    """A chart under construction: labelled axes, to which `axes` adds what needs no tips."""

    def __init__(self, x: str, y: str, size: tuple[float, float] = NORMAL) -> None:
        """Set the labels of the axes and the size in inches."""
        with styled():
            self.figure = Figure(size, layout="constrained")
            self.axes: Axes = self.figure.add_subplot(xlabel=x, ylabel=y)
        for axis in (self.axes.xaxis, self.axes.yaxis):
            axis.set_major_formatter(_TICKS)
            axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        self._tips: dict[str, tuple[str, ...]] = {}

    def dots(
        self,
        points: Sequence[Point],
        color: str,
        tips: Iterable[str],
        size: float | Sequence[float] = 18.0,
        opacity: float = 1.0,
    ) -> None:
        """Add dots of `size` square points; each shows its tip under the pointer."""
        gid = f"marks-{len(self._tips)}"
        self._tips[gid] = tuple(tips)
        x, y = zip(*points, strict=True) if points else ((), ())
        self.axes.scatter(
            x, y, s=size, color=color, alpha=opacity, linewidths=0, clip_on=False, zorder=3, gid=gid
        )

    def guide(self, start: Point, end: Point) -> None:
        """Add a dashed line."""
        self.axes.plot(*zip(start, end, strict=True), color=GUIDE, linewidth=1, linestyle=(0, (4, 3)))

    def limit(self, x: Limits | None = None, y: Limits | None = None, logarithmic: bool = False) -> None:
        """Set the ends of axes, both logarithmic or both linear."""
        for name, limits in (("x", x), ("y", y)):
            if limits is None:
                continue
            if logarithmic:
                axis = self.axes.xaxis if name == "x" else self.axes.yaxis
                self.axes.set(**{f"{name}scale": "log"})
                axis.set_major_formatter(_TICKS)
                axis.set_minor_formatter(NullFormatter())
            self.axes.set(**{f"{name}lim": limits})

    def chart(
        self,
        name: str,
        title: str,
        description: str,
        caption: str = "",
        kind: str = "chart",
        legend: Iterable[tuple[str, str]] = (),
    ) -> Chart:
        """Return the chart, with a legend of names and colors below."""
        entries = [(short_name(name), Patch(color=color)) for name, color in legend]
        if entries:
            names, patches = zip(*entries, strict=True)
            longest = _LEGEND_LETTER * max(map(len, names)) + _LEGEND_HANDLE
            columns = int(min(max(self.figure.get_figwidth() // longest, 1), _LEGEND_COLUMNS))
            rows = ceil(len(entries) / columns)
            self.figure.set_figheight(self.figure.get_figheight() + _LEGEND_ROW * rows)
            with styled():
                self.figure.legend(patches, names, loc="outside lower left", ncols=columns, handlelength=1)
        return Chart(name, title, description, self.figure, caption, kind, self._tips)


def limits_around(values: Iterable[float], zero: bool = False) -> Limits:
    """Return the ends of an axis around all values with a margin, from 0 if `zero`."""
    found = list(values)
    low, high = min(found, default=0.0), max(found, default=1.0)
    low = min(0.0, low) if zero else low
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return low if zero else low - margin, high + margin


def powers_around(values: Iterable[float]) -> Limits:
    """Return the powers of ten around all values; those of 0 and below are ignored."""
    found = [value for value in values if value > 0]
    low, high = floor(log10(min(found, default=0.1))), ceil(log10(max(found, default=1.0)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def short_name(name: str) -> str:
    """Return a name that fits beside an axis or into a legend, with "?" for what no drawing can hold."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= _LONGEST_NAME else shown[: _LONGEST_NAME - 1] + "…"


@contextmanager
def styled(salt: str = "") -> Generator[None]:
    """Use the style of the charts; `salt` makes ids differ between the drawings of one page."""
    style: Any = {**_STYLE, "svg.hashsalt": f"ldseg {salt}"}
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has other fonts
        yield


def _keep_drawing_only(root: ElementTree.Element) -> None:
    """Remove the metadata, the global style and the clipping, which all data are within anyway."""
    for parent in list(root.iter()):
        parent.attrib.pop("clip-path", None)
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style", f"{_SVG}clipPath"):
                parent.remove(child)


def _make_inline(root: ElementTree.Element, description: str) -> None:
    """Change the drawing's attributes and names to those of a part of an HTML page."""
    for group in root.iter(f"{_SVG}g"):
        group.attrib.pop("id", None)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.tail = None
        changed = {name.removeprefix(_XLINK): value for name, value in element.attrib.items()}
        element.attrib = {name: _DECIMALS.sub(r"\1", _FONT.sub("", value)) for name, value in changed.items()}
        if element.text is not None and not element.text.strip():
            element.text = None
    root.attrib = {
        "class": "plot",
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": description,
    }
