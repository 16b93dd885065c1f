"""The report as one self-contained HTML file without scripts."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path

from ldseg import __version__
from ldseg.app.report.collect import ReportData
from ldseg.app.report.html import text
from ldseg.app.report.overview_sections import (
    data_section,
    key_figures,
    model_name,
    scores_section,
    structures,
    training_section,
)
from ldseg.app.report.result_sections import (
    cases_section,
    confidence_section,
    robustness_section,
    trajectory_section,
)
from ldseg.errors import file_error
from ldseg.utils.serialization import write_bytes_atomic

# The browser must not fetch anything.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_ENDINGS = (".html", ".htm")


def check_output(path: Path) -> None:
    """Raise InputError if a page cannot be written to `path`; called before the work is done."""
    if path.suffix.lower() not in _ENDINGS:
        raise file_error(path, "the report is a page", "give a name that ends with .html")
    if path.is_dir():
        raise file_error(path, "is a folder", "give a file")


def write_page(path: Path, report: ReportData) -> None:
    """Write the page atomically. Raises InputError if it cannot be written."""
    write_bytes_atomic(path, to_html(report).encode())


def to_html(report: ReportData) -> str:
    """Return the whole page."""
    title = f"{report.name}: {', '.join(structures(report))}"
    parts = {
        "data": ("Data and plan", data_section(report)),
        "training": ("Training", training_section(report)),
        "scores": ("Scores", scores_section(report)),
        "cases": ("Cases", cases_section(report)),
        "confidence": ("Confidence", confidence_section(report)),
        "robustness": ("Robustness", robustness_section(report)),
        "trajectory": ("Reverse diffusion", trajectory_section(report)),
    }
    shown = {anchor: part for anchor, part in parts.items() if part[1]}
    links = "".join(f'<a href="#{anchor}">{text(name)}</a>' for anchor, (name, _) in shown.items())
    body = "".join(content for _, content in shown.values())
    style = files("ldseg.app.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>\n{style}</style></head><body>"
        f'<header><h1>{text(report.name)}</h1><p class="sub">{text(_subtitle(report))}</p>'
        f"{key_figures(report)}"
        f"<nav>{links}</nav></header><main>{body}</main>{_footer()}</body></html>\n"
    )


def _subtitle(report: ReportData) -> str:
    names = ", ".join(structures(report))
    return f"Segmentation of {names} on {report.evaluation.dataset.root.resolve().name}, {model_name(report)}"


def _footer() -> str:
    day = datetime.now(timezone.utc).date().isoformat()
    return (
        f"<footer>Made with ldseg {text(__version__)} on {day}. Rest the pointer on a mark to read its "
        "numbers. Not a medical device; not validated for clinical use.</footer>"
    )
