"""Last sections of the page: example cases, confidence, robustness, sampling trajectory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ldseg.app.report.case_figure import CaseFigure
from ldseg.app.report.collect import ReportData
from ldseg.app.report.html import (
    case,
    chart_figure,
    code,
    color_scale,
    grid,
    legend,
    panels,
    paragraph,
    section,
    strip,
    table,
    text,
)
from ldseg.app.report.overview_sections import describe_sampling, is_stochastic, structures
from ldseg.app.report.palette import class_color, css, heat_stops
from ldseg.app.report.plotting import Chart, readable
from ldseg.app.report.trajectory_panels import trajectory_panels
from ldseg.data.units import length_unit, length_words, pretty, size_word
from ldseg.evaluation.calibration_report import CalibrationReport
from ldseg.inference.out_of_distribution import describe_ways


def cases_section(report: ReportData) -> str:
    """Return the section with figures and scores of example cases."""
    classes = len(report.plan.classes)
    scale = color_scale(
        "uncertainty (entropy): 0", heat_stops(), f"log {classes} = {np.log(classes):.2f} nats"
    )
    colors = [(name, css(class_color(index))) for index, name in enumerate(structures(report))]
    drawn = [_case(report, title, case_figure) for title, case_figure in report.case_figures.items()]
    words = "Expected: the Dice that the model expects of its own prediction, without the reference."
    note = paragraph(text(words), kind="note")
    return section("cases", "Cases", note, legend(colors), *drawn, scale)


def confidence_section(report: ReportData, charts: Sequence[Chart]) -> str:
    """Return the section on calibration and uncertainty."""
    sampling = describe_sampling(report, report.measurements.sampling)
    intro = f"Predicted with {sampling}, seed {report.measurements.seed}."
    if not is_stochastic(report):
        intro += " This model is deterministic: its uncertainty is the entropy of its own probabilities."
    intervals = report.measurements.sampling.samples > 1
    word = size_word(report.plan.axes)
    coverage = _interval_table(report.measurements.calibration, word) if intervals else ""
    return section(
        "confidence",
        "Confidence",
        paragraph(text(intro), kind="note"),
        grid(map(chart_figure, charts)),
        coverage,
    )


def robustness_section(report: ReportData, charts: Sequence[Chart]) -> str:
    """Return the section with the Dice on corrupted images, or with the command that measures it."""
    found = report.robustness
    if found is None:
        command = code("ldseg robustness DATA -m RUN -o RUN/robustness")
        return section(
            "robustness", "Robustness", paragraph("Not measured yet; ", command, " does it.", kind="note")
        )
    setup = found.setup
    how = describe_sampling(report, setup.sampling.settings(report.settings.posterior))
    words = f"{len(setup.cases)} cases of {setup.data} ({setup.part}), {how}. "
    words += "Bands are 95 % intervals of the mean."
    body = grid(map(chart_figure, charts), "charts small")
    return section("robustness", "Robustness", paragraph(text(words), kind="note"), body)


def trajectory_section(report: ReportData) -> str:
    """Return the section with the sampling trajectory; empty for a model without one."""
    trajectory = report.trajectory
    if trajectory is None:
        return ""
    words = (
        f"{report.trajectory_case}, one sample, {len(trajectory.states) - 1} steps of {trajectory.sampler}, "
        "which is what fits on the page, whatever the steps of predictions. "
        "Above: the latent from noise (t = 1) to the prediction (t = 0); colors show its main components. "
        "Below: the clean latent that the model estimates from it, decoded."
    )
    columns = trajectory_panels(trajectory)
    images = strip([columns[0][1].base], columns)
    return section("trajectory", "Reverse diffusion", paragraph(text(words), kind="note"), images)


def _case(report: ReportData, title: str, case_figure: CaseFigure) -> str:
    """Return a case's panels, what was remarked on it, and its structures."""
    dice = float(np.mean([one.metrics["dice"] for one in case_figure.scores.values()]))
    unlike = case_figure.prediction.out_of_distribution
    said = (
        case_figure.where,
        f"the image {describe_ways(unlike)}" if unlike else "",
        *case_figure.prediction.notes,
    )
    shown = case_figure.panels
    bases = {one.base.name: one.base for one in shown}
    return case(
        case_figure.case if title == case_figure.case else f"{title}: {case_figure.case}",
        f"Dice {dice:.3f}, expected {case_figure.prediction.confidence:.3f}",
        panels(bases.values(), shown),
        *(paragraph(text(one), kind="note") for one in said if one),
        _structure_table(case_figure, structures(report)),
    )


def _structure_table(case_figure: CaseFigure, names: Sequence[str]) -> str:
    """Return the table of the structures that the reference or any sample contains."""
    scores, volumes = case_figure.scores, case_figure.prediction.volumes
    present = [name for name in names if scores[name].empty != "both" or volumes[name].high > 0]
    if not present:
        return paragraph("No structure, none found.", kind="note")
    interval = ("90 % interval",) if any(one.high > one.low for one in volumes.values()) else ()
    columns = (
        "structure",
        "Dice",
        f"HD95 ({length_words(case_figure.image.axes, case_figure.image.physical)})",
        f"{size_word(case_figure.image.axes)} ({pretty(case_figure.prediction.volume_unit)})",
        *interval,
        "reference" if case_figure.raters == 1 else f"reference (mean of {case_figure.raters} raters)",
    )
    return table(columns, [_structure(case_figure, name, bool(interval)) for name in present], "compact")


def _structure(case_figure: CaseFigure, name: str, with_interval: bool) -> tuple[str, ...]:
    volume, metrics = case_figure.prediction.volumes[name], case_figure.scores[name].metrics
    reference = case_figure.volumes.get(name)
    return (
        text(name),
        f"{metrics['dice']:.3f}",
        f"{metrics[f'hd95_{length_unit(case_figure.image.physical)}']:.2f}",
        readable(volume.mean),
        *((f"{readable(volume.low)} to {readable(volume.high)}",) if with_interval else ()),
        "not labelled throughout" if reference is None else readable(reference),
    )


def _interval_table(found: CalibrationReport, size: str) -> str:
    """Return the table of the 90 % intervals of the structures' sizes; empty where none is known."""
    if not found.intervals:
        return ""
    rows = [
        (text(name), str(one.cases), f"{one.covered:.0%}", f"{one.width:.1%}")
        for name, one in found.intervals.items()
    ]
    held = f"hold the true {size} (aim: 90 %)"
    return table((f"{size} intervals", "references", held, f"mean width, of the {size}"), rows)
