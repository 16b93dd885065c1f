"""Last sections of the page: example cases, confidence, robustness, sampling trajectory."""

from __future__ import annotations

import numpy as np

from ldseg.app.report.case_figure import CaseFigure
from ldseg.app.report.charts import (
    confidence_chart,
    reliability_chart,
    risk_chart,
    robustness_charts,
    volume_chart,
)
from ldseg.app.report.collect import ReportData
from ldseg.app.report.figures import label_overlay, make_base_image, panel, pixel_panel, to_gray_or_rgb
from ldseg.app.report.html import code, grid, legend, paragraph, section, table, text
from ldseg.app.report.overview_sections import describe_sampling, is_stochastic, structures
from ldseg.app.report.palette import class_color, css, heat_stops
from ldseg.app.report.sampling_trajectory import SamplingTrajectory, TrajectoryState, latent_colors
from ldseg.app.report.slice_selection import select_slice
from ldseg.data.units import length_unit, length_words, pretty
from ldseg.evaluation.calibration_report import CalibrationReport
from ldseg.inference.out_of_distribution import describe_ways


def cases_section(report: ReportData) -> str:
    """Return the section with figures and scores of example cases."""
    names = structures(report)
    most = np.log(len(report.plan.classes))
    shades = ", ".join(heat_stops())
    scale = (
        '<div class="scale">uncertainty (entropy): 0 '
        f'<i style="background:linear-gradient(90deg, {shades})"></i> '
        f"log {len(report.plan.classes)} = {most:.2f} nats</div>"
    )
    drawn = [_case(report, title, case_figure) for title, case_figure in report.case_figures.items()]
    return section("cases", "Cases", legend(_class_colors(names)), *drawn, scale)


def confidence_section(report: ReportData) -> str:
    """Return the section on calibration and uncertainty."""
    found = report.measurements.calibration
    unit = pretty(report.measurements.volume_unit)
    intervals = report.measurements.sampling.samples > 1
    charts = [
        *_voxel_charts(found),
        *_case_charts(found),
        volume_chart(report.measurements.volumes, unit, intervals),
    ]
    sampling = describe_sampling(report, report.measurements.sampling)
    intro = f"Predicted with {sampling}, seed {report.measurements.seed}."
    if not is_stochastic(report):
        intro += " This model is deterministic: its uncertainty is the entropy of its own probabilities."
    coverage = _interval_table(found) if intervals else ""
    return section(
        "confidence",
        "Confidence",
        paragraph(text(intro), kind="note"),
        grid(chart for chart in charts if chart),
        coverage,
    )


def robustness_section(report: ReportData) -> str:
    """Return the section with the Dice on corrupted images, or with the command that measures it."""
    found = report.robustness
    if found is None:
        command = code("ldseg robustness DATA -m RUN -o RUN/robustness")
        return section(
            "robustness", "Robustness", paragraph("Not measured yet; ", command, " does it.", kind="note")
        )
    setup = found.setup
    how = describe_sampling(report, setup.sampling)
    words = f"{len(setup.cases)} cases of {setup.data} ({setup.part}), {how}. "
    words += "Bands are 95 % intervals of the mean."
    charts = grid(robustness_charts(found), "charts small")
    return section("robustness", "Robustness", paragraph(text(words), kind="note"), charts)


def trajectory_section(report: ReportData) -> str:
    """Return the section with the sampling trajectory; empty for a model without one."""
    trajectory = report.trajectory
    if trajectory is None:
        return ""
    case = next(iter(report.case_figures.values())).case
    if "median" in report.case_figures:
        case = report.case_figures["median"].case
    words = (
        f"{case}, one sample, {len(trajectory.states) - 1} steps of {trajectory.sampler}. Above: the latent "
        "from noise (t = 1) to the prediction (t = 0); colors show its main components. Below: the clean "
        "latent that the model estimates from it, decoded."
    )
    return section("trajectory", "Reverse diffusion", paragraph(text(words), kind="note"), _strip(trajectory))


def _case(report: ReportData, title: str, case_figure: CaseFigure) -> str:
    dice = float(np.mean([one.metrics["dice"] for one in case_figure.scores.values()]))
    label = case_figure.case if title == case_figure.case else f"{title}: {case_figure.case}"
    expected = f"expected {case_figure.prediction.confidence:.3f}"
    heading = f"<h3>{text(label)} <span>Dice {dice:.3f}, {expected}</span></h3>"
    panels = f'<div class="panels">{case_figure.html}</div>'
    unlike = case_figure.prediction.out_of_distribution
    said = (
        case_figure.where,
        f"the image {describe_ways(unlike)}" if unlike else "",
        *case_figure.prediction.notes,
    )
    notes = "".join(paragraph(text(one), kind="note") for one in said if one)
    rows = [_structure(case_figure, name) for name in structures(report) if _is_there(case_figure, name)]
    unit = pretty(case_figure.prediction.volume_unit)
    length = length_words(case_figure.image.axes, case_figure.image.physical)
    columns = (
        "structure",
        "Dice",
        f"HD95 ({length})",
        f"volume ({unit}), 5 to 95 % of the samples",
        "reference",
    )
    details = table(columns, rows, "compact") if rows else paragraph("No structure, none found.", kind="note")
    return f'<div class="case">{heading}{panels}{notes}{details}</div>'


def _is_there(case_figure: CaseFigure, name: str) -> bool:
    """Return whether the reference or any sample contains the structure."""
    return case_figure.scores[name].empty != "both" or case_figure.prediction.volumes[name].high > 0


def _structure(case_figure: CaseFigure, name: str) -> tuple[str, ...]:
    volume, metrics = case_figure.prediction.volumes[name], case_figure.scores[name].metrics
    interval = f" ({_size(volume.low)} to {_size(volume.high)})" if volume.high > volume.low else ""
    reference = case_figure.volumes.get(name)
    return (
        text(name),
        f"{metrics['dice']:.3f}",
        f"{metrics[f'hd95_{length_unit(case_figure.image.physical)}']:.2f}",
        f"{_size(volume.mean)}{interval}",
        "not labelled throughout" if reference is None else _size(reference),
    )


def _size(volume: float) -> str:
    return f"{volume:,.0f}" if volume >= 1000 else f"{volume:.4g}"


def _voxel_charts(found: CalibrationReport) -> list[str]:
    charts: list[str] = []
    if found.near is not None:
        margin = f"within {found.margin_voxels} voxels of a structure"
        charts.append(reliability_chart(f"Reliability, {margin}", found.near))
        words = (
            f"Wrong voxels {margin} among the surest; dashed: in random order. AURC {found.near.aurc:.4f}."
        )
        charts.append(risk_chart("Risk and coverage, voxels", found.near.risk, "share that is wrong", words))
    if found.everywhere is not None:
        charts.append(reliability_chart("Reliability, all voxels", found.everywhere))
    return charts


def _case_charts(found: CalibrationReport) -> list[str]:
    if len(found.cases) < 2:
        return []
    chosen = found.selection
    words = (
        "Mean of 1 - Dice when the cases with the lowest expected Dice are left to a person; dashed: in "
        f"random order. AURC {chosen.aurc:.4f}, {chosen.excess_aurc:.4f} above the best possible order."
    )
    return [
        confidence_chart(found),
        risk_chart("Risk and coverage, cases", chosen.risk, "mean of 1 - Dice", words),
    ]


def _interval_table(found: CalibrationReport) -> str:
    if not found.intervals:
        return ""
    rows = [
        (text(name), str(one.cases), f"{one.covered:.0%}", f"{one.width:.1%}")
        for name, one in found.intervals.items()
    ]
    columns = ("volume intervals", "cases", "hold the true volume (aim: 90 %)", "mean width, of the volume")
    return table(columns, rows)


def _strip(trajectory: SamplingTrajectory) -> str:
    last = trajectory.states[-1].labels
    axes = "yx" if last.ndim == 2 else "zyx"
    view = select_slice(last > 0, trajectory.spacing, axes)
    stretch = view.height / view.width
    image = to_gray_or_rgb(np.stack([view.cut(one) for one in trajectory.image]), is_color=False)
    base = make_base_image("trajectory-image", image, stretch)
    latents = latent_colors(
        tuple(np.stack([view.cut(channel) for channel in state.latent]) for state in trajectory.states)
    )
    columns = [
        f"<div>{pixel_panel(colors, f't = {state.time:.2f}', stretch)}"
        f"{panel(base, _estimate(state), (label_overlay(view.cut(state.labels)),))}</div>"
        for state, colors in zip(trajectory.states, latents, strict=True)
    ]
    return f'{base.definition}<div class="strip">{"".join(columns)}</div>'


def _estimate(state: TrajectoryState) -> str:
    return "prediction" if state.time == 0 else "estimate"


def _class_colors(names: list[str]) -> list[tuple[str, str]]:
    return [(name, css(class_color(index))) for index, name in enumerate(names)]
