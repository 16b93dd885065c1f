"""Components of the page, rendered from the jinja2 templates in `templates/`.

Templates escape text. Parameters documented as HTML are inserted unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=PackageLoader("ldseg.app.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=False,
)
_COMPONENTS: Any = _TEMPLATES.get_template("components.html").module


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


def figure(title: str, body: str, caption: str = "", kind: str = "chart") -> str:
    """Return a chart or image (HTML) with a title above and a caption (text) below."""
    return str(_COMPONENTS.figure(title, body, caption, kind))


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
