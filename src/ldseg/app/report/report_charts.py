"""All charts of a report by the section that shows them, and the folder of figures for papers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ldseg.app.report.charts import (
    cine_charts,
    confidence_chart,
    dice_chart,
    reliability_chart,
    risk_chart,
    robustness_charts,
    volume_chart,
)
from ldseg.app.report.collect import ReportData
from ldseg.app.report.curves import loss_chart, validation_chart
from ldseg.app.report.image_charts import case_chart, rater_chart, trajectory_chart
from ldseg.app.report.overview_sections import structures
from ldseg.app.report.plotting import Chart
from ldseg.data.units import pretty, size_word, voxel_word
from ldseg.errors import file_error
from ldseg.evaluation.calibration_report import CalibrationReport
from ldseg.utils.serialization import check_writable, write_bytes_atomic

FILE_FORMATS = ("pdf", "svg")


@dataclass(frozen=True)
class ReportCharts:
    """The charts of each section."""

    training: tuple[Chart, ...]
    scores: tuple[Chart, ...]
    cines: tuple[Chart, ...]
    confidence: tuple[Chart, ...]
    robustness: tuple[Chart, ...]

    def all(self) -> tuple[Chart, ...]:
        """Return all charts in the order of the page."""
        return (*self.training, *self.scores, *self.cines, *self.confidence, *self.robustness)


def draw_charts(report: ReportData) -> ReportCharts:
    """Return the charts of a report."""
    curves = loss_chart(report.records), validation_chart(report.records, structures(report))
    return ReportCharts(
        training=tuple(chart for chart in curves if chart is not None),
        scores=(dice_chart(report.scores),),
        cines=tuple(cine_charts(report.scores)),
        confidence=tuple(_confidence_charts(report)),
        robustness=() if report.robustness is None else tuple(robustness_charts(report.robustness)),
    )


def check_folder(folder: Path) -> None:
    """Raise InputError if figures cannot be written into `folder`; called before the work is done."""
    if folder.exists() and not folder.is_dir():
        raise file_error(folder, "is a file", "give a folder for the figures")
    check_writable(folder, "--figures")


def write_figures(folder: Path, report: ReportData) -> list[Path]:
    """Write each chart and each figure of images as PDF and SVG, and return the files.

    Raises:
        InputError: a file cannot be written.
    """
    case_figures = enumerate(report.case_figures.items(), start=1)
    images = [case_chart(f"case_{number}", title, one, report.plan) for number, (title, one) in case_figures]
    if report.raters is not None:
        compared = enumerate(report.raters.panels.items(), start=1)
        images += [rater_chart(f"raters_{number}", case, panels) for number, (case, panels) in compared]
    if report.trajectory is not None:
        images.append(trajectory_chart(report.trajectory, report.trajectory_case, structures(report)))
    written: list[Path] = []
    for chart in (*draw_charts(report).all(), *images):
        for file_format in FILE_FORMATS:
            path = folder / f"{chart.name}.{file_format}"
            write_bytes_atomic(path, chart.to_bytes(file_format))
            written.append(path)
    return written


def _confidence_charts(report: ReportData) -> Iterator[Chart]:
    found = report.measurements.calibration
    yield from _voxel_charts(found, voxel_word(report.plan.axes))
    if len(found.cases) > 1:
        chosen = found.selection
        words = (
            "Mean of 1 - Dice when the cases with the lowest expected Dice are left to a person; dashed: in "
            f"random order. AURC {chosen.aurc:.4f}, {chosen.excess_aurc:.4f} above the best possible order."
        )
        yield confidence_chart(found)
        yield risk_chart("risk_cases", "Risk and coverage, cases", chosen.risk, "mean of 1 - Dice", words)
    several = report.measurements.sampling.samples > 1
    unit = pretty(report.measurements.volume_unit)
    volumes = volume_chart(report.measurements.volumes, size_word(report.plan.axes), unit, several)
    if volumes is not None:
        yield volumes


def _voxel_charts(found: CalibrationReport, unit: str) -> Iterator[Chart]:
    """Return the charts over all voxels and over those near a structure; `unit` is "voxel" or "pixel"."""
    if found.near is not None:
        margin = f"within {found.margin_voxels} {unit}s of a structure"
        words = (
            f"Wrong {unit}s {margin} among the surest; dashed: in random order. AURC {found.near.aurc:.4f}."
        )
        yield reliability_chart("reliability_near", f"Reliability, {margin}", unit, found.near)
        yield risk_chart(
            "risk_voxels", f"Risk and coverage, {unit}s", found.near.risk, "share that is wrong", words
        )
    if found.everywhere is not None:
        yield reliability_chart("reliability_all", f"Reliability, all {unit}s", unit, found.everywhere)
