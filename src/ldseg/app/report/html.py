"""Components of the page, rendered from the jinja2 templates in `templates/`.

Templates escape text. Parameters documented as HTML are inserted unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ldseg.app.report.figures import BaseImage, Panel, data_uri
from ldseg.app.report.plotting import Chart

_TEMPLATES = Environment(
    loader=PackageLoader("ldseg.app.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=False,
)
_TEMPLATES.filters["data_uri"] = data_uri
_COMPONENTS: Any = _TEMPLATES.get_template("components.html").module
_FIGURES: Any = _TEMPLATES.get_template("figures.html").module


def render_page(**values: Any) -> str:
    """Return the whole page; see `templates/page.html` for its values."""
    return _TEMPLATES.get_template("page.html").render(values)


def text(value: object) -> str:
    """Return a value as escaped text, safe within elements and quoted attributes."""
    return escape(str(value), quote=True)


def section(name: str, title: str, *parts: str) -> str:
    """Return a section of the page with an anchor; `parts` are HTML."""
    return str(_COMPONENTS.section(name, title, "".join(parts)))


def paragraph(*parts: str, kind: str = "") -> str:
    """Return a paragraph; `parts` are HTML."""
    return str(_COMPONENTS.paragraph("".join(parts), kind))


def warning(message: str) -> str:
    """Return a highlighted note."""
    return str(_COMPONENTS.warning(message))


def code(command: str) -> str:
    """Return a command in the code font."""
    return str(_COMPONENTS.code(command))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Return a table with names in its first column; cells are HTML, columns are text."""
    return str(_COMPONENTS.table(columns, rows, kind))


def facts(title: str, pairs: Iterable[tuple[str, object]]) -> str:
    """Return a list of names and values, one per line."""
    return str(_COMPONENTS.facts(title, pairs))


def chart_figure(chart: Chart) -> str:
    """Return a chart with its title above and its caption below."""
    return str(_FIGURES.chart(chart))


def panels(bases: Iterable[BaseImage], shown: Iterable[Panel]) -> str:
    """Return panels in a row; `bases` are the images that they show."""
    return str(_FIGURES.panels(bases, shown))


def strip(bases: Iterable[BaseImage], columns: Iterable[Sequence[Panel]]) -> str:
    """Return columns of panels side by side, as many as there are, on one line."""
    return str(_FIGURES.strip(bases, columns))


def color_scale(low: str, colors: Sequence[str], high: str) -> str:
    """Return a bar of CSS colors between the words for its ends."""
    return str(_FIGURES.color_scale(low, colors, high))


def case(title: str, remark: str, *parts: str) -> str:
    """Return what the page shows of one case, with a remark beside its title; `parts` are HTML."""
    return str(_FIGURES.case(title, remark, "".join(parts)))


def with_interval(value: str, interval: str) -> str:
    """Return the content of a cell: a value, and its interval, if any, below."""
    return str(_COMPONENTS.with_interval(value, interval))


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return the legend of a figure from pairs of name and CSS color."""
    return str(_COMPONENTS.legend(entries))


def grid(parts: Iterable[str], kind: str = "charts") -> str:
    """Return parts (HTML) side by side, as many as fit."""
    return str(_COMPONENTS.grid(parts, kind))


def key_figures_row(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a row of large values with their labels."""
    return str(_COMPONENTS.key_figures(pairs))


def details(summary: str, body: str) -> str:
    """Return a part (HTML) that opens on a click on its summary."""
    return str(_COMPONENTS.details(summary, body))
