"""The section of the page that compares the model's samples with several raters."""

from __future__ import annotations

from ldseg.app.report.collect import ReportData
from ldseg.app.report.html import case, color_scale, panels, paragraph, section, table, text
from ldseg.app.report.palette import heat_stops
from ldseg.metrics.ambiguity import AmbiguityMetrics

_COLUMNS = (
    "",
    "GED² (lower is better)",
    "HM-IoU (higher is better)",
    "Dice-match (higher is better)",
    "diversity of samples",
    "diversity of raters",
)


def raters_section(report: ReportData) -> str:
    """Return the section; empty where no case has several raters."""
    found = report.raters
    if found is None:
        return ""
    number = len(found.ambiguity.cases)
    words = (
        f"{number} cases with several raters, {found.ambiguity.samples} samples each. Two raters have a mean "
        f"Dice of {found.rater_dice:.3f} with each other. GED² is 0 where samples and raters are distributed "
        "alike; the diversity (mean of 1 - IoU of two) of the samples should be that of the raters. "
        "Brighter: marked by more raters, or by more samples, as any structure."
    )
    rows = [_row(f"mean of {number} cases", found.ambiguity.mean)]
    rows += [_row(name, found.ambiguity.cases[name]) for name in found.panels]
    shown = [
        case(name, f"GED² {found.ambiguity.cases[name].ged2:.3f}", panels([one[0].base], one))
        for name, one in found.panels.items()
    ]
    scale = color_scale("none", heat_stops(), "all")
    return section(
        "raters", "Raters", paragraph(text(words), kind="note"), table(_COLUMNS, rows), *shown, scale
    )


def _row(name: str, metrics: AmbiguityMetrics) -> tuple[str, ...]:
    return (
        text(name),
        f"{metrics.ged2:.3f}",
        f"{metrics.hm_iou:.3f}",
        f"{metrics.dice_match:.3f}",
        f"{metrics.sample_diversity:.3f}",
        f"{metrics.rater_diversity:.3f}",
    )
