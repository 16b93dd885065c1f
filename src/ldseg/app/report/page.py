"""The report as one self-contained HTML file without scripts."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path

from ldseg import __version__
from ldseg.app.report.collect import ReportData
from ldseg.app.report.html import render_page, warning
from ldseg.app.report.overview_sections import (
    data_section,
    key_figures,
    measured_on,
    model_name,
    scores_section,
    structures,
    training_section,
)
from ldseg.app.report.raters_section import raters_section
from ldseg.app.report.reliability import reliability_notes
from ldseg.app.report.report_charts import draw_charts
from ldseg.app.report.result_sections import (
    cases_section,
    confidence_section,
    robustness_section,
    trajectory_section,
)
from ldseg.errors import file_error
from ldseg.utils.serialization import check_writable, write_bytes_atomic

# The browser must not fetch anything.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_ENDINGS = (".html", ".htm")


def check_output(path: Path) -> None:
    """Raise InputError if a page cannot be written to `path`; called before the work is done."""
    if path.suffix.lower() not in _ENDINGS:
        raise file_error(path, "the report is a page", "give a name that ends with .html")
    if path.is_dir():
        raise file_error(path, "is a folder", "give a file")
    check_writable(path.parent)


def write_page(path: Path, report: ReportData) -> None:
    """Write the page atomically. Raises InputError if it cannot be written."""
    write_bytes_atomic(path, to_html(report).encode())


def to_html(report: ReportData) -> str:
    """Return the whole page."""
    charts = draw_charts(report)
    title = f"{report.name}: {', '.join(structures(report))}"
    parts = {
        "data": ("Data and plan", data_section(report)),
        "training": ("Training", training_section(report, charts.training)),
        "scores": ("Scores", scores_section(report, charts.scores, charts.cines)),
        "cases": ("Cases", cases_section(report)),
        "confidence": ("Confidence", confidence_section(report, charts.confidence)),
        "raters": ("Raters", raters_section(report)),
        "robustness": ("Robustness", robustness_section(report, charts.robustness)),
        "trajectory": ("Reverse diffusion", trajectory_section(report)),
    }
    shown = {anchor: part for anchor, part in parts.items() if part[1]}
    names = ", ".join(structures(report))
    data = report.evaluation.dataset.root.resolve().name
    return render_page(
        title=title,
        name=report.name,
        subtitle=f"Segmentation of {names} on {data}, {model_name(report)}. {measured_on(report)}",
        policy=_POLICY,
        style=files("ldseg.app.report").joinpath("page.css").read_text(encoding="utf-8"),
        notes="".join(map(warning, reliability_notes(report))),
        key_figures=key_figures(report),
        sections=shown,
        version=__version__,
        day=datetime.now(timezone.utc).date().isoformat(),
    )
