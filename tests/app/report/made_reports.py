"""Making a report of a run, and what its page holds."""

from __future__ import annotations

import re
from pathlib import Path

from ldseg.app.report.collect import ReportData, ReportOptions, collect

EVERYTHING = {"data", "training", "scores", "cases", "confidence", "robustness", "trajectory"}


def make_report(run: Path, options: ReportOptions | None = None) -> ReportData:
    return collect(run, options or ReportOptions(samples=2, steps=2), "cpu")


def anchors(page: str) -> set[str]:
    return set(re.findall(r'<section id="(\w+)">', page))
