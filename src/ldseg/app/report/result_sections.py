"""The later parts of the page: cases in pictures, confidence, robustness, reverse diffusion."""

from __future__ import annotations

import numpy as np

from ldseg.app.report.case_figure import Portrait
from ldseg.app.report.charts import (
    confidence_chart,
    reliability_chart,
    risk_chart,
    robustness_charts,
    volume_chart,
)
from ldseg.app.report.collect import Report
from ldseg.app.report.figures import grey_or_colour, label_overlay, make_base, panel, plain_panel
from ldseg.app.report.html import code, grid, legend, paragraph, section, table, text
from ldseg.app.report.overview_sections import is_stochastic, sampling_words, structures
from ldseg.app.report.palette import class_colour, css, heat_stops
from ldseg.app.report.sampling_trajectory import Film, Frame, latent_colours
from ldseg.app.report.slice_selection import choose_view
from ldseg.data.units import length_unit, length_words, pretty
from ldseg.evaluation.calibration_report import CalibrationReport
from ldseg.inference.out_of_distribution import describe_ways


def cases_section(report: Report) -> str:
    """Pictures of some cases, with what was asked and answered."""
    names = structures(report)
    most = np.log(len(report.plan.classes))
    shades = ", ".join(heat_stops())
    scale = (
        '<div class="scale">uncertainty (entropy): 0 '
        f'<i style="background:linear-gradient(90deg, {shades})"></i> '
        f"log {len(report.plan.classes)} = {most:.2f} nats</div>"
    )
    drawn = [_case(report, title, portrait) for title, portrait in report.portraits.items()]
    return section("cases", "Cases", legend(_class_colours(names)), *drawn, scale)


def confidence_section(report: Report) -> str:
    """How far what the model says of itself can be trusted."""
    found = report.measured.calibration
    unit = pretty(report.measured.volume_unit)
    intervals = report.measured.sampling.samples > 1
    charts = [
        *_voxel_charts(found),
        *_case_charts(found),
        volume_chart(report.measured.volumes, unit, intervals),
    ]
    intro = f"Predicted with {sampling_words(report, report.measured.sampling)}, seed {report.measured.seed}."
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


def robustness_section(report: Report) -> str:
    """Dice as images get worse, or how to measure it."""
    found = report.robustness
    if found is None:
        command = code("ldseg robustness DATA -m RUN -o RUN/robustness")
        return section(
            "robustness", "Robustness", paragraph("Not measured yet; ", command, " does it.", kind="note")
        )
    setup = found.setup
    how = sampling_words(report, setup.sampling)
    words = f"{len(setup.cases)} cases of {setup.data} ({setup.part}), {how}. "
    words += "Bands are 95 % intervals of the mean."
    charts = grid(robustness_charts(found), "charts small")
    return section("robustness", "Robustness", paragraph(text(words), kind="note"), charts)


def film_section(report: Report) -> str:
    """The reverse diffusion, or nothing for a model that has none."""
    film = report.film
    if film is None:
        return ""
    case = next(iter(report.portraits.values())).case
    if "median" in report.portraits:
        case = report.portraits["median"].case
    words = (
        f"{case}, one sample, {len(film.frames) - 1} steps of {film.sampler}. Above, the latent on its way "
        "from noise (t = 1) to the answer (t = 0), in the colours of its main components; below, the clean "
        "latent that the model estimates from it, decoded."
    )
    return section("film", "Reverse diffusion", paragraph(text(words), kind="note"), _strip(film))


def _case(report: Report, title: str, portrait: Portrait) -> str:
    dice = float(np.mean([one.metrics["dice"] for one in portrait.scores.values()]))
    label = portrait.case if title == portrait.case else f"{title}: {portrait.case}"
    expected = f"expected {portrait.prediction.confidence:.3f}"
    heading = f"<h3>{text(label)} <span>Dice {dice:.3f}, {expected}</span></h3>"
    panels = f'<div class="panels">{portrait.html}</div>'
    unlike = portrait.prediction.unlike
    said = (
        portrait.where,
        f"the image {describe_ways(unlike)}" if unlike else "",
        *portrait.prediction.notes,
    )
    notes = "".join(paragraph(text(one), kind="note") for one in said if one)
    rows = [_structure(portrait, name) for name in structures(report) if _is_there(portrait, name)]
    unit = pretty(portrait.prediction.volume_unit)
    length = length_words(portrait.image.axes, portrait.image.physical)
    columns = (
        "structure",
        "Dice",
        f"HD95 ({length})",
        f"volume ({unit}), 5 to 95 % of the samples",
        "reference",
    )
    details = table(columns, rows, "compact") if rows else paragraph("No structure, none found.", kind="note")
    return f'<div class="case">{heading}{panels}{notes}{details}</div>'


def _is_there(portrait: Portrait, name: str) -> bool:
    """Whether the reference or any sample has the structure; many have no place in most cases."""
    return portrait.scores[name].empty != "both" or portrait.prediction.volumes[name].high > 0


def _structure(portrait: Portrait, name: str) -> tuple[str, ...]:
    volume, metrics = portrait.prediction.volumes[name], portrait.scores[name].metrics
    interval = f" ({_size(volume.low)} to {_size(volume.high)})" if volume.high > volume.low else ""
    reference = portrait.volumes.get(name)
    return (
        text(name),
        f"{metrics['dice']:.3f}",
        f"{metrics[f'hd95_{length_unit(portrait.image.physical)}']:.2f}",
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


def _strip(film: Film) -> str:
    last = film.frames[-1].labels
    axes = "yx" if last.ndim == 2 else "zyx"
    view = choose_view(last > 0, film.spacing, axes)
    stretch = view.height / view.width
    image = grey_or_colour(np.stack([view.cut(one) for one in film.image]), is_colour=False)
    base = make_base("film-image", image, stretch)
    latents = latent_colours(
        tuple(np.stack([view.cut(channel) for channel in frame.latent]) for frame in film.frames)
    )
    columns = [
        f"<div>{plain_panel(colours, f't = {frame.time:.2f}', stretch)}"
        f"{panel(base, _estimate(frame), (label_overlay(view.cut(frame.labels)),))}</div>"
        for frame, colours in zip(film.frames, latents, strict=True)
    ]
    return f'{base.definition}<div class="strip">{"".join(columns)}</div>'


def _estimate(frame: Frame) -> str:
    return "answer" if frame.time == 0 else "estimate"


def _class_colours(names: list[str]) -> list[tuple[str, str]]:
    return [(name, css(class_colour(index))) for index, name in enumerate(names)]
