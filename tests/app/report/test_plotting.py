"""Charts: labelled, legible, the same for the same values, and following the page's colors."""

from __future__ import annotations

import re
from importlib.resources import files
from xml.etree import ElementTree

import pytest

from ldseg.app.report.charts import risk_chart, volume_chart
from ldseg.app.report.curves import loss_chart, validation_chart
from ldseg.app.report.measurements import VolumePoint
from ldseg.app.report.plotting import (
    INK,
    SERIES,
    THEME,
    Plot,
    limits_around,
    powers_around,
    short_name,
    short_number,
)
from ldseg.inference.posterior import VolumeEstimate
from ldseg.metrics.risk_coverage import RiskPoint

LOSSES = [
    {"event": "losses", "step": step, "losses": {"segmentation": 2 / step, "latent": 1 / step}}
    for step in range(10, 101, 10)
]


def circles(drawing: str) -> list[tuple[float, float, str]]:
    """Position and tip of each dot of a chart on the page."""
    root = ElementTree.fromstring(drawing)
    found = [one for one in root.iter("use") if one.find("title") is not None]
    return [(float(one.attrib["x"]), float(one.attrib["y"]), one.findtext("title", "")) for one in found]


def test_a_chart_names_its_axes_and_its_curves() -> None:
    chart = loss_chart(LOSSES)
    assert chart is not None
    for drawing in (chart.svg(), chart.to_bytes("svg").decode()):
        for word in ("training step", "loss", "segmentation", "latent", "0.01", "0.1", "100"):
            assert f">{word}</text>" in drawing


@pytest.mark.parametrize("file_format", ["svg", "pdf"])
def test_the_same_values_give_the_same_file(file_format: str) -> None:
    first, second = loss_chart(LOSSES), loss_chart(LOSSES)
    assert first is not None
    assert second is not None
    assert first.to_bytes(file_format) == second.to_bytes(file_format)
    assert first.svg() == second.svg()


def test_dots_lie_where_their_values_are_and_show_their_tip() -> None:
    plot = Plot("x", "y")
    plot.limit((0, 1), (0, 1))
    plot.dots([(0, 0), (1, 0.5), (1, 1)], INK, ["<&>", "b", "c"])
    (left, bottom, tip), (right, middle, _), (_, top, _) = circles(plot.chart("n", "t", "d").svg())
    assert tip == "<&>"
    assert left < right
    assert top < middle < bottom
    assert abs(middle - (top + bottom) / 2) < 0.02


def test_dots_of_different_sizes_show_their_own_tips() -> None:
    plot = Plot("x", "y")
    plot.dots([(0, 0), (1, 1)], INK, ["a", "b"], [9.0, 400.0])
    drawing = plot.chart("n", "t", "d").svg()
    assert re.findall(r"<title>(\w)</title>", drawing) == ["a", "b"]


def test_colors_of_a_chart_are_variables_of_the_style_sheet() -> None:
    style = files("ldseg.app.report").joinpath("page.css").read_text(encoding="utf-8")
    for variable, color in THEME.items():
        assert f"--{variable}: {color};" in style
    chart = loss_chart(LOSSES)
    assert chart is not None
    assert not any(color in chart.svg() for color in THEME.values())
    assert "stroke: var(--s1)" in chart.svg()
    assert THEME["s1"].encode() in chart.to_bytes("svg")


def test_a_chart_in_the_page_refers_to_nothing_outside_it() -> None:
    drawing = risk_chart("r", "t", [RiskPoint(0.5, 0.1), RiskPoint(1.0, 0.2)], "risk", "").svg()
    names = re.findall(r' id="([^"]*)"', drawing)
    assert len(names) == len(set(names))
    assert {link[1:] for link in re.findall(r' href="([^"]*)"', drawing)} <= set(names)
    assert not re.search(r"http|url\(|<style|xlink|xmlns", drawing)


def test_names_are_text_whatever_they_hold() -> None:
    chart = validation_chart(
        [{"event": "validation", "step": 1, "class_dice": [0.5, 0.4]}], ["a$^b$ <i>", "骨\x07"]
    )
    assert chart is not None
    assert "a$^b$ &lt;i&gt;" in chart.svg()
    assert "骨?" in chart.svg()
    assert chart.to_bytes("pdf").startswith(b"%PDF")
    assert len(short_name("a" * 99)) == 36


def test_a_training_that_diverged_still_has_curves() -> None:
    values = [1.0, float("inf"), float("nan"), 0.5]
    records = [
        {"event": "losses", "step": 10 * n, "losses": {"segmentation": value, "latent": float("nan")}}
        for n, value in enumerate(values)
    ]
    chart = loss_chart(records)
    assert chart is not None
    assert not re.search(r"\b(nan|inf)\b", chart.svg())


def test_nothing_logged_is_no_chart() -> None:
    assert loss_chart([]) is None
    assert validation_chart([], ["a"]) is None
    assert loss_chart([{"event": "losses", "step": 1, "losses": {"segmentation": 0.0}}]) is not None


def test_an_axis_has_room_for_its_values() -> None:
    assert limits_around([3.0, 3.0])[0] < 3 < limits_around([3.0, 3.0])[1]
    assert limits_around([0.0, 5.0], zero=True)[0] == 0
    assert limits_around([])[1] > limits_around([])[0]
    assert powers_around([0.0, 0.02, 3.0]) == pytest.approx((0.01, 10))


def test_ticks_are_short() -> None:
    shown = {0.0: "0", 0.25: "0.25", 2e-5: "2e-05", 1500.0: "1500", 20_000.0: "20k", 3.2e9: "3200M"}
    assert {value: short_number(value) for value in shown} == shown


def test_a_volume_of_nothing_lies_at_the_end_of_a_logarithmic_axis() -> None:
    def point(case: str, mean: float, reference: float) -> VolumePoint:
        return VolumePoint(case, VolumeEstimate(mean, mean / 2, mean * 2), reference)

    points = (point("a", 0.0, 10.0), point("b", 1000.0, 900.0), point("c", 20.0, 0.0))
    chart = volume_chart({"left": points}, "volume", "mm³", several=True)
    assert chart is not None
    dots = circles(chart.svg())
    assert len(dots) == 3
    assert max(y for _, y, _ in dots) == dots[0][1]
    assert min(x for x, _, _ in dots) == dots[2][0]
    assert volume_chart({"left": (point("a", 0.0, 0.0),)}, "volume", "mm³", several=True) is None


def test_no_interval_of_a_volume_is_cut_off() -> None:
    points = tuple(
        VolumePoint(case, VolumeEstimate(mean, mean - 400, mean + 400), mean)
        for case, mean in (("a", 1000.0), ("b", 1200.0))
    )
    chart = volume_chart({"left": points}, "volume", "mm³", several=True)
    assert chart is not None
    low, high = chart.figure.axes[0].get_ylim()
    assert low < 600
    assert high > 1600


def test_a_legend_of_long_names_stays_within_the_drawing() -> None:
    names = ("validation", "autoencoder alone", "with another case's image")
    plot = Plot("step", "Dice")
    chart = plot.chart("dice", "Dice", "Dice", legend=[(name, SERIES[0]) for name in names])
    chart.to_bytes("svg")
    (legend,) = chart.figure.legends
    assert legend.get_window_extent().x1 <= chart.figure.bbox.x1
