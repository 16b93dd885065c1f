"""Panels of images as matplotlib figures, for the folder of figures; the page shows them by HTML."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log, log10

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ldseg.app.report.case_figure import CaseFigure
from ldseg.app.report.figures import BaseImage, Panel
from ldseg.app.report.palette import class_color, css
from ldseg.app.report.plotting import Chart, short_name, styled
from ldseg.app.report.sampling_trajectory import SamplingTrajectory
from ldseg.app.report.trajectory_panels import trajectory_panels
from ldseg.planning.plan import Plan

_WIDTH, _NARROW = 1.9, 1.1  # inches of a panel
_FRAME = "#ffd94a"
_DIMMED = 0.45
_BAR_SHARE = 0.35  # of the image's width, at most, for the scale bar


def case_chart(name: str, title: str, case_figure: CaseFigure, plan: Plan) -> Chart:
    """Return the panels of a case side by side, with a scale of the uncertainty in nats."""
    described = f"{title}: {case_figure.case}, image, reference, prediction and uncertainty"
    figure = _draw_row(name, case_figure.panels, "entropy (nats)", log(len(plan.classes)))
    with styled(name):
        _add_legend(figure, list(plan.classes)[1:])
    return Chart(name, title, described, figure)


def rater_chart(name: str, case: str, panels: Sequence[Panel]) -> Chart:
    """Return the panels that compare raters and samples on a case, with a scale of how many mark a voxel."""
    described = f"{case}, image, share of the raters and of the samples that mark a voxel"
    return Chart(name, case, described, _draw_row(name, panels, "share that marks a structure", 1.0))


def trajectory_chart(trajectory: SamplingTrajectory, case: str, structures: Sequence[str]) -> Chart:
    """Return the sampling trajectory: the latent above the decoded clean estimate, a column for each time."""
    columns = trajectory_panels(trajectory)
    base = columns[0][1].base
    with styled("trajectory"):
        height = 2 * _NARROW * base.height / base.columns + 0.8
        figure = Figure((_NARROW * len(columns), height), layout="constrained")
        axes = figure.subplots(2, len(columns), squeeze=False)
        for column, panels in enumerate(columns):
            for row, panel in enumerate(panels):
                _draw(axes[row][column], panel)
        _add_legend(figure, structures)
    title = "Reverse diffusion"
    return Chart("trajectory", title, f"sampling trajectory of {case}", figure)


def _draw_row(name: str, panels: Sequence[Panel], scale: str, most: float) -> Figure:
    """Return panels side by side; the scale of the last one goes from 0 to `most`."""
    tallest = max(panel.base.height / panel.base.columns for panel in panels)
    with styled(name):
        figure = Figure((_WIDTH * len(panels) + 0.6, _WIDTH * tallest + 0.7), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        drawn: set[str] = set()
        for place, panel in zip(axes, panels, strict=True):
            _draw(place, panel)
            if panel.base.name not in drawn:
                _draw_scale_bar(place, panel.base)
            drawn.add(panel.base.name)
        heat = ScalarMappable(Normalize(0, most), colormaps["inferno"])
        figure.colorbar(heat, ax=axes[-1], label=scale, shrink=0.8)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    """Draw the image of a panel under its overlays."""
    base = panel.base
    extent = (0.0, float(base.columns), base.height, 0.0)
    axes.set(title=panel.title, xticks=(), yticks=())
    axes.set_facecolor("black")
    axes.imshow(
        base.pixels,
        extent=extent,
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="none",
        alpha=_DIMMED if panel.dimmed else None,
    )
    for overlay in panel.overlays:
        axes.imshow(overlay, extent=extent, interpolation="none")
    if panel.frame is not None:
        top, left, rows, columns = panel.frame
        corner = left, top * base.stretch
        axes.add_patch(Rectangle(corner, columns, rows * base.stretch, fill=False, edgecolor=_FRAME))


def _draw_scale_bar(axes: Axes, base: BaseImage) -> None:
    """Draw a bar of a round length in mm into the lower left corner, if the image has a physical spacing."""
    if base.pixel_mm is None:
        return
    most = _BAR_SHARE * base.columns * base.pixel_mm
    power = 10.0 ** floor(log10(most))
    length = max(factor * power for factor in (1, 2, 5) if factor * power <= most * (1 + 1e-9))
    left, bottom = 0.05 * base.columns, 0.94 * base.height
    axes.plot([left, left + length / base.pixel_mm], [bottom, bottom], color="white", linewidth=2)
    axes.text(left, bottom - 0.03 * base.height, f"{length:g} mm", color="white", fontsize=7)


def _add_legend(figure: Figure, names: Sequence[str]) -> None:
    patches = [Patch(color=css(class_color(index))) for index in range(len(names))]
    columns = int(np.clip(len(names), 1, 4))
    figure.legend(
        patches, [short_name(name) for name in names], loc="outside lower left", ncols=columns, handlelength=1
    )
