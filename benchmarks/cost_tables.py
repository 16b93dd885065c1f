"""Tables and the plot of `speed.py` and `memory.py`: what a prediction and a training step cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from markdown_table import Record, table

PLOT = "cost.png"
_DECODES = r"ratio_(\d+)_steps_(\d+)_samples_to_1_step_and_(\d+)_decodes"
_SPEED = (
    ("predict, 1 step (the default), CPU s", "predict_cpu_s_1_step", 3),
    ("predict, 2 steps, CPU s", "predict_cpu_s_2_steps", 3),
    ("predict, 15 steps, CPU s", "predict_cpu_s_15_steps", 3),
    ("predict, 50 steps, CPU s", "predict_cpu_s_50_steps", 3),
    (r"predict, \2 samples of \1 steps, CPU s", r"predict_cpu_s_(\d+)_steps_(\d+)_samples", 3),
    ("predict, samples by default (mirror image too), CPU s", "predict_cpu_s_posterior", 3),
    ("predict, `unet`, CPU s", "predict_cpu_s_unet", 3),
    ("50 steps to 1 step", "ratio_50_steps_to_1", 2),
    (r"\2 samples of \1 steps to one step and \3 decodes", _DECODES, 2),
    ("pixel diffusion of 1000 steps to 1 step", "ratio_pixel_diffusion_1000_steps_to_1_step", 0),
    ("predict, 1 step, to the bare convolutions", "ratio_1_step_to_bare_convolutions_of_a_patch", 2),
    ("training step, CPU s", "training_step_cpu_s_ldseg", 3),
    ("training step, `unet`, CPU s", "training_step_cpu_s_unet", 3),
    ("training step with torch.compile, CPU s", "training_step_cpu_s_ldseg_compiled", 3),
    ("bare convolutions' share of a training step", "share_of_bare_in_training_step", 2),
    ("training, peak memory GB", "training_peak_rss_gb_ldseg", 2),
)
"""Title of a row with the groups of the pattern, pattern of its metric, digits."""


def speed_tables(records: Sequence[Record]) -> str:
    """Return a table with one column per image size."""
    sizes = list(dict.fromkeys(record["split"] for record in records))
    found = {(record["split"], record["metric"]): record["value"] for record in records}
    metrics = dict.fromkeys(record["metric"] for record in records)
    rows = [
        (named.expand(title), *(_cell(found.get((size, metric)), digits) for size in sizes))
        for title, pattern, digits in _SPEED
        for metric in metrics
        for named in [re.fullmatch(pattern, metric)]
        if named
    ]
    commits = ", ".join(dict.fromkeys(record["commit"] for record in records))
    return f"Commit {commits}.\n\n{table(('cost', *sizes), rows)}" if rows else ""


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def memory_tables(records: Sequence[Record]) -> str:
    """Return a table with one row per kind of prediction, and its plot."""
    kinds: dict[str, list[tuple[str, dict[str, float]]]] = {}
    runs = _runs(records)
    for name, one in runs.items():
        kind, _, size = name.partition("_")
        kinds.setdefault(kind, []).append((size.replace("_", " "), one))
    rows = [
        (
            f"{kind}: {', '.join(size for size, _ in found)}",
            ", ".join(f"{one['peak_rss_gb']:.2f}" for _, one in found),
            ", ".join(f"{one['cpu_s']:.0f}" for _, one in found),
        )
        for kind, found in kinds.items()
    ]
    straight = [
        f"against {name} {_straight(points):.4f}"
        for name, (points, _) in curves(runs).items()
        if len(points) > 2
    ]
    lines = [table(("prediction", "peak GB", "CPU s"), rows)]
    lines += (
        [f"Share of CPU seconds' variance that a line explains: {', '.join(straight)}."] if straight else []
    )
    return (
        "\n\n".join([*lines, f"![CPU seconds and memory against size and samples]({PLOT})"]) if rows else ""
    )


def _runs(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    runs: dict[str, dict[str, float]] = {}
    for record in records:
        for metric in ("peak_rss_gb", "cpu_s"):
            if record["metric"].endswith(f"_{metric}"):
                runs.setdefault(record["metric"].removesuffix(f"_{metric}"), {})[metric] = record["value"]
    return runs


def curves(runs: dict[str, dict[str, float]]) -> dict[str, tuple[NDArray[np.float64], str]]:
    """Name of the axis to rows of (x, CPU seconds, GB), and the unit of x."""
    size = [
        (np.prod([float(n) for n in found[1].split("x")]) / 1e6, one["cpu_s"], one["peak_rss_gb"])
        for name, one in runs.items()
        if (found := re.fullmatch(r"volume_([\dx]+)", name))
    ]
    count = [
        (float(found[1]), one["cpu_s"], one["peak_rss_gb"])
        for name, one in runs.items()
        if (found := re.fullmatch(r"samples_(\d+)", name))
    ]
    files = [
        (float(found[1]), one["cpu_s"], one["peak_rss_gb"])
        for name, one in runs.items()
        if (found := re.fullmatch(r"files_(\d+)", name))
    ]
    named = {
        "the size of a volume": (size, "million voxels"),
        "the number of samples": (count, "samples"),
        "the number of files": (files, "files"),
    }
    return {name: (np.array(sorted(points)), unit) for name, (points, unit) in named.items() if points}


def _straight(points: NDArray[np.float64]) -> float:
    x, y = points[:, 0], points[:, 1]
    left = y - np.polyval(np.polyfit(x, y, 1), x)
    return 1 - float(left.var() / y.var())


def draw_costs(records: Sequence[Record], folder: Path) -> None:
    """`PLOT` in `folder`: CPU seconds above, memory below; nothing without records."""
    found = curves(_runs(records))
    if not found:
        return
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots(2, len(found), squeeze=False)
    for column, (points, unit) in enumerate(found.values()):
        for row, what in enumerate(("CPU seconds", "peak memory, GB")):
            axes[row][column].plot(points[:, 0], points[:, 1 + row], "o-", color="#20639b")
            axes[row][column].set(xlabel=unit, ylabel=what, ylim=(0, None), xlim=(0, None))
            axes[row][column].grid(alpha=0.3)
    figure.savefig(folder / PLOT, dpi=110, metadata={"Software": None})
