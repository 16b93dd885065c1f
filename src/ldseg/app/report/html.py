"""Pieces of HTML. Everything that comes from files goes through `text`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def text(value: object) -> str:
    """A value as text, safe within elements and quoted attributes."""
    return escape(str(value), quote=True)


def section(name: str, title: str, *parts: str) -> str:
    """A part of the page with an anchor."""
    return f'<section id="{text(name)}"><h2>{text(title)}</h2>{"".join(parts)}</section>'


def paragraph(*parts: str, kind: str = "") -> str:
    """Running text; `parts` are HTML."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{''.join(parts)}</p>"


def warning(message: str) -> str:
    """What the reader must not miss."""
    return f'<p class="warning"><strong>Note.</strong> {text(message)}</p>'


def code(command: str) -> str:
    """Something to type."""
    return f"<code>{text(command)}</code>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table whose first column are names; cells are HTML, columns are text."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    attribute = f' class="{kind}"' if kind else ""
    rows_below = f"<tbody>{body}</tbody>"
    return f'<div class="scroll"><table{attribute}><thead><tr>{head}</tr></thead>{rows_below}</table></div>'


def facts(title: str, pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values, one a line."""
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in pairs)
    return f'<div class="facts"><h3>{text(title)}</h3><dl>{rows}</dl></div>'


def figure(title: str, body: str, caption: str = "", kind: str = "chart") -> str:
    """A chart or picture (HTML) with a title above and an explanation (text) below."""
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    above = f"<h3>{text(title)}</h3>" if title else ""
    return f'<figure class="{kind}">{above}{body}{below}</figure>'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """(name, color in CSS) of what a picture shows."""
    items = "".join(
        f'<li><i style="background:{text(color)}"></i>{text(name)}</li>' for name, color in entries
    )
    return f'<ul class="legend">{items}</ul>'


def grid(parts: Iterable[str], kind: str = "charts") -> str:
    """Parts side by side, as many as fit."""
    return f'<div class="{kind}">{"".join(parts)}</div>'
