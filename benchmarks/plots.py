"""Pictures of the pages of `accuracy.py`, `calibration.py` and `robustness.py`, one for each set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runs import name_of

Result = dict[str, Any]
FOLDER = "plots"
_COLOURS = ("#20639b", "#c1440e", "#3c8d5a", "#7a5195", "#8a6d3b")


def shown(benchmark: str, data: str) -> str:
    """Return the figure in Markdown."""
    return f"![{benchmark} on {data}]({FOLDER}/{benchmark}-{data}.png)"


def draw_plots(results: Sequence[Result], folder: Path) -> None:
    """Draw one figure per benchmark and set, of the budget and the seed with the most results."""
    groups: dict[tuple[str, str], dict[tuple[float, int], dict[str, Result]]] = {}
    for result in sorted(results, key=lambda r: (r["budget_minutes"], r["seed"], _name(r))):
        trained = groups.setdefault((result["benchmark"], result["data"]), {})
        trained.setdefault((result["budget_minutes"], result["seed"]), {})[_name(result)] = result
    (folder / FOLDER).mkdir(exist_ok=True)
    for (benchmark, data), trained in groups.items():
        models = max(trained.values(), key=len)
        path = folder / FOLDER / f"{benchmark}-{data}.png"
        DRAWN[benchmark](models).savefig(path, dpi=90, metadata={"Software": None})


def draw_minutes(curves: Mapping[str, Mapping[str, Sequence[Result]]], folder: Path) -> None:
    """Draw one figure per set: the mean Dice of each model, with its interval, by CPU minutes of training."""
    (folder / FOLDER).mkdir(exist_ok=True)
    for data, models in curves.items():
        figure = Figure(figsize=(5.5, 3.6), layout="constrained")
        axes = figure.subplots()
        for (name, records), colour in zip(models.items(), cycle(_COLOURS), strict=False):
            minutes = [one["budget_minutes"] for one in records]
            _line(axes, name, colour, minutes, [one["value"] for one in records])
            bounds = [[one[bound] for one in records] for bound in ("low", "high")]
            axes.fill_between(minutes, *bounds, color=colour, alpha=0.12, linewidth=0)
        axes.set(xscale="log", xlabel="CPU minutes of training", ylabel="Dice on test cases", title=data)
        budgets = sorted({one["budget_minutes"] for records in models.values() for one in records})
        axes.set_xticks(budgets, [f"{one:g}" for one in budgets])
        axes.minorticks_off()
        axes.legend(fontsize="small")
        figure.savefig(folder / FOLDER / f"minutes-{data}.png", dpi=90, metadata={"Software": None})


def draw_training(results: Sequence[Result], folder: Path) -> None:
    """Draw one figure per set and device of the trainings that are compared with the paper: the validation
    Dice of each variant by its training steps."""
    (folder / FOLDER).mkdir(exist_ok=True)
    for data, device in sorted({(result["data"], result["device"]) for result in results}):
        figure = Figure(figsize=(5.5, 3.6), layout="constrained")
        axes = figure.subplots()
        shown = [one for one in results if (one["data"], one["device"], one["seed"]) == (data, device, 0)]
        for result, colour in zip(shown, cycle(_COLOURS), strict=False):
            points = result["curve"]
            name = result["model"].replace("_", " ")
            _line(axes, name, colour, [p["step"] for p in points], [p["dice"] for p in points])
        axes.set(xlabel="training steps", ylabel="Dice on validation cases", title=data)
        axes.legend(fontsize="small")
        name = f"paper-{data}" if device == "cpu" else f"paper-{data}-{device}"
        figure.savefig(folder / FOLDER / f"{name}.png", dpi=90, metadata={"Software": None})


def draw_calibration(models: dict[str, Result]) -> Figure:
    """Said against true near structures, and the error that is left in the surest voxels."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    said, left = figure.subplots(1, 2)
    said.plot([0, 1], [0, 1], ":", color="grey")
    for (name, result), colour in zip(models.items(), cycle(_COLOURS), strict=False):
        near = result["plain"]["near"] or result["plain"]["everywhere"]
        bins = [one for one in near["bins"] if one["voxels"]]
        _line(said, name, colour, [b["confidence"] for b in bins], [b["accuracy"] for b in bins])
        risk = result["plain"]["everywhere"]["risk"]
        _line(left, name, colour, [r["coverage"] for r in risk], [r["risk"] for r in risk])
    said.set(xlabel="confidence, near structures", ylabel="share that is right", xlim=(0.3, 1), ylim=(0.3, 1))
    left.set(xlabel="share of voxels, surest first", ylabel="share that is wrong", ylim=(0, None))
    said.legend(fontsize="small")
    return figure


def draw_robustness(models: dict[str, Result]) -> Figure:
    """Dice against the strength of each corruption."""
    curves = next(iter(models.values()))["curves"]
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = list(figure.subplots(2, (len(curves) + 1) // 2, sharey=True).flat)
    for corruption, axes in zip(curves, panels, strict=False):
        for (name, result), colour in zip(models.items(), cycle(_COLOURS), strict=False):
            curve = result["curves"][corruption]
            points = curve["points"]
            _line(axes, name, colour, [p["strength"] for p in points], [p["mean_dice"] for p in points])
        axes.set(title=corruption.replace("_", " "), ylim=(0, 1))
    for axes in panels[len(curves) :]:
        axes.axis("off")
    figure.axes[0].legend(fontsize="small")
    figure.axes[0].set_ylabel("Dice")
    return figure


DRAWN = {"calibration": draw_calibration, "robustness": draw_robustness}
"""By benchmark; a result is drawn when it has one of these."""


def _name(result: Result) -> str:
    name = name_of(result["model"], result["preset"])
    raw = result["benchmark"] == "robustness" and not result.get("harmonized")
    return f"{name}, images as they are" if raw else name


def _line(axes: Axes, name: str, colour: str, x: list[float], y: list[float]) -> None:
    axes.plot(x, y, "o-", color=colour, markersize=3, label=name)
    axes.grid(alpha=0.3)
