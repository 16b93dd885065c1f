"""First sections of the page: key figures, data and plan, training, scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ldseg.app.report.collect import ReportData
from ldseg.app.report.curves import last_warnings
from ldseg.app.report.html import (
    chart_figure,
    details,
    facts,
    grid,
    key_figures_row,
    paragraph,
    section,
    table,
    text,
    warning,
    with_interval,
)
from ldseg.app.report.plotting import Chart, readable
from ldseg.data.units import (
    length_text,
    length_words,
    pretty,
    size_unit,
    size_word,
    spacing_words,
    voxel_word,
)
from ldseg.evaluation.scores import Scores, to_json
from ldseg.metrics.intervals import Interval, format_interval
from ldseg.settings import SamplingSettings
from ldseg.training.budget_settings import describe_budget

_METRICS = {
    "dice": ("Dice", 3),
    "nsd": ("NSD", 3),
    "surface_dice": ("surface Dice", 3),
    "hd95_mm": ("HD95 ({unit})", 2),
    "hd95_px": ("HD95 ({unit})", 2),
    "assd_mm": ("ASSD ({unit})", 2),
    "assd_px": ("ASSD ({unit})", 2),
    "volume_error": ("volume error", 3),
}
_PARTS = {
    "test": "the test part, which neither trained nor chose anything",
    "validation": "the validation fold, which was watched during training (the run has no test part)",
    "all": "all cases with masks",
    "scored": "the cases of the scores that were given",
}


def model_name(report: ReportData) -> str:
    """Return the method and preset of the model as text."""
    settings = report.settings
    if settings.baseline == "none":
        return f"latent diffusion (LDSeg), preset {settings.preset}"
    return f"baseline {settings.baseline}, preset {settings.preset}"


def structures(report: ReportData) -> list[str]:
    """Return the class names without the background."""
    return list(report.plan.classes)[1:]


def key_figures(report: ReportData) -> str:
    """Return the key figures at the top of the page."""
    measurements, scores = report.measurements, report.scores
    dice = scores.case_dice()
    worst = int(np.argmin(dice))
    shown = [
        (
            f"{scores.mean_dice:.3f}",
            f"mean Dice, {format_interval(scores.mean_dice_interval, '.3f')} (95 % interval)",
        ),
        (f"{dice[worst]:.3f}", f"Dice of the worst case, {list(scores.cases)[worst]}"),
    ]
    near = measurements.calibration.near
    if near is not None:
        shown.append((f"{near.ece:.3f}", "calibration error (ECE) near the structures; 0 is best"))
    intervals = measurements.calibration.intervals.values()
    if intervals and measurements.sampling.samples > 1:
        inside = sum(one.covered * one.cases for one in intervals) / sum(one.cases for one in intervals)
        sizes = f"{size_word(report.plan.axes)}s"
        shown.append((f"{inside:.0%}", f"of the true {sizes} are within their 90 % interval"))
    if report.raters is not None:
        words = "Dice of two raters with each other, to compare the mean Dice with"
        shown.append((f"{report.raters.rater_dice:.3f}", words))
    return key_figures_row(shown)


def measured_on(report: ReportData) -> str:
    """Return the sentence that says which cases the figures are of."""
    plural = "" if report.evaluation.available == 1 else "s"
    return f"Measured on {_count(report)} case{plural}: {_PARTS[report.evaluation.part]}."


def describe_sampling(report: ReportData, sampling: SamplingSettings) -> str:
    """Return the number of samples and steps and the sampler as text."""
    if not is_stochastic(report):
        return "deterministic prediction"
    samples = "1 sample" if sampling.samples == 1 else f"{sampling.samples} samples"
    if sampling.single_call and sampling.samples > 1:
        return f"{sampling.samples} members of one prediction each"
    if not report.settings.stepwise:
        return f"{samples}, drawn at once"
    steps = "1 step" if sampling.steps == 1 else f"{sampling.steps} steps"
    return f"{samples} of {steps} ({sampling.sampler})"


def is_stochastic(report: ReportData) -> bool:
    """Return whether two samples of the model can differ."""
    return report.stochastic


def data_section(report: ReportData) -> str:
    """Return the section on the data, the plan and the settings of the training."""
    boxes = [
        facts("Data", _data_facts(report)),
        facts("Plan", _plan_facts(report)),
        facts("Model and training", _training_facts(report)),
    ]
    return section("data", "Data and plan", grid(boxes, "facts-row"), _classes(report))


def training_section(report: ReportData, charts: Sequence[Chart]) -> str:
    """Return the section with training curves and warnings."""
    notes = "".join(warning(line) for line in last_warnings(report.records))
    nothing = paragraph("The run has no log of its training.", kind="note")
    body = grid(map(chart_figure, charts)) if charts else nothing
    return section("training", "Training", notes, body)


def scores_section(report: ReportData, charts: Sequence[Chart], cines: Sequence[Chart]) -> str:
    """Return the section with the scores per class, with intervals, and per case."""
    scores = report.scores
    by_subject = any(scores.subjects.get(name, name) != name for name in scores.cases)
    plural = "s" if report.evaluation.available > 1 else ""
    which = f"{_count(report)} case{plural}: {_PARTS[report.evaluation.part]}"
    if report.scores_file:
        which = f"{len(scores.cases)} cases of {report.scores_file}"
    words = f"{which}. Below each mean is its 95 % interval"
    words += ", by subject." if by_subject else "."
    if any(len(case.labels) > 1 for case in report.evaluation.cases):
        words += " Scores are means over the raters of a case."
    parts = [paragraph(text(words), kind="note")]
    parts += [_score_table(report), *map(chart_figure, charts)]
    parts += [grid(map(chart_figure, cines), "charts small")] if cines else []
    parts += [
        paragraph(text(f"No score for {name}: {why}"), kind="note") for name, why in scores.failed.items()
    ]
    return section("scores", "Scores", *parts, _case_table(scores))


def _data_facts(report: ReportData) -> Iterator[tuple[str, object]]:
    dataset, plan = report.evaluation.dataset, report.plan
    yield "data set", dataset.root.resolve().name
    yield "cases with masks", sum(1 for case in dataset.cases if case.labels)
    yield "measured here", f"{_count(report)}: {_PARTS[report.evaluation.part]}"
    yield "axes", {"yx": "2D (y, x)", "zyx": "3D (z, y, x)", "tyx": "2D + time (t, y, x)"}[plan.axes]
    yield "channels", ", ".join(channel.name for channel in plan.channels)
    fingerprint = report.fingerprint
    if fingerprint is not None:
        shapes = np.asarray([case.shape for case in fingerprint.cases])
        spacings = np.asarray([case.spacing for case in fingerprint.cases])
        yield "median shape", _times(np.median(shapes, axis=0))
        median = spacing_words(plan.axes, np.median(spacings, axis=0).tolist(), physical=True)
        yield "median spacing", median if _recorded(fingerprint.physical, report) else "none"


def _recorded(physical: bool | None, report: ReportData) -> bool:
    """Return whether training images had a physical spacing; where that is unknown, whether these have."""
    return report.scores.physical if physical is None else physical


def _count(report: ReportData) -> str:
    """Return the number of evaluated cases and, if more are available, of how many."""
    count, available = len(report.evaluation.cases), report.evaluation.available
    return str(count) if count == available else f"{count} of {available}"


def _plan_facts(report: ReportData) -> Iterator[tuple[str, object]]:
    plan = report.plan
    spacing = spacing_words(plan.axes, plan.spacing, _recorded(plan.had_spacing, report))
    yield "spacing", spacing if plan.resample else "each image's own"
    yield "patch", _times(plan.patch) + (", in tiles" if plan.tiled else "")
    yield "latent grid", " × ".join(f"1/{factor}" for factor in plan.latent_factor)
    yield "latent channels", plan.latent_channels
    yield "normalisation", ", ".join(dict.fromkeys(channel.scheme for channel in plan.channels))
    yield "mirrored axes", ", ".join(plan.axes[axis] for axis in plan.mirror_axes) or "none"


def _training_facts(report: ReportData) -> Iterator[tuple[str, object]]:
    training = report.settings.training
    yield "model", model_name(report)
    yield "parameters", f"{report.parameters / 1e6:.2f} million"
    yield "budget", describe_budget(report.settings.training)
    steps = [record["step"] for record in report.records if "step" in record]
    if steps:
        yield "steps done", f"{max(steps)} of batch {training.batch or report.plan.batch}"
    yield "fold, seed", f"{training.fold}, {training.seed}"
    count = "" if report.calibrated_on is None else f", on {report.calibrated_on} cases"
    yield "recalibrated", f"yes{count}" if report.recalibrated else "no"
    yield "weights", f"SHA-256 {report.weights[:12]}…"


def _classes(report: ReportData) -> str:
    fingerprint = report.fingerprint
    if fingerprint is None:
        return paragraph("Structures: ", text(", ".join(structures(report))))
    unit = pretty(size_unit(report.plan.axes, _recorded(fingerprint.physical, report)))
    rows = [
        (
            text(one.name),
            str(report.plan.classes.get(one.name, "")),
            f"{one.cases} of {len(fingerprint.cases)}",
            f"{one.frequency:.2%}",
            readable(one.volume_median),
            readable(one.volume_smallest),
        )
        for one in fingerprint.classes
    ]
    columns = (
        "structure",
        "id",
        "training and validation cases that have it",
        f"of all {voxel_word(report.plan.axes)}s",
        f"median size ({unit})",
        f"smallest ({unit})",
    )
    return table(columns, rows)


def _score_table(report: ReportData) -> str:
    summary = to_json(report.scores)
    shown = [name for name in _METRICS if all(name in metrics for metrics in summary["mean"].values())]
    rows: list[tuple[str, ...]] = []
    for name, means in summary["mean"].items():
        cells = [
            _interval(means[metric], summary["interval"][name][metric], _METRICS[metric][1])
            for metric in shown
        ]
        median = f"{summary['median'][name]['dice']:.3f}"
        rows.append((text(name), cells[0], median, *cells[1:]))
    mean = _interval(report.scores.mean_dice, report.scores.mean_dice_interval, 3)
    if len(rows) > 1:
        rows.append(("mean", mean, *("" for _ in range(len(shown)))))
    unit = length_words(report.plan.axes, report.scores.physical)
    columns = (
        "structure",
        "Dice",
        "median Dice",
        *(_METRICS[metric][0].format(unit=unit) for metric in shown[1:]),
    )
    axes, word = report.plan.axes, voxel_word(report.plan.axes)
    within = length_text(axes, report.scores.physical, report.scores.tolerance)
    tolerance = (
        f"NSD: share of the border {word}s within {within}; ASSD counts border {word}s too. Surface Dice: "
        "the same share of the surface's area, as other tools report it. Volume error: difference from the "
        f"true {size_word(axes)}, as a share of it."
    )
    return table(columns, rows) + paragraph(text(tolerance), kind="note")


def _case_table(scores: Scores) -> str:
    names = list(scores.metrics)
    dice = dict(zip(scores.cases, scores.case_dice(), strict=True))
    rows = [
        (
            text(case),
            f"{dice[case]:.3f}",
            *(f"{scores.cases[case][name].metrics['dice']:.3f}" for name in names),
        )
        for case in sorted(scores.cases, key=lambda case: dice[case])
    ]
    summary = f"Dice of all {len(rows)} cases, the worst first"
    return details(summary, table(("case", "mean", *names), rows))


def _interval(mean: float, interval: Interval | None, digits: int) -> str:
    """Return a table cell with the mean and, where there is one, its interval."""
    beside = "" if interval is None else format_interval(interval, f".{digits}f")
    return with_interval(f"{mean:.{digits}f}", beside)


def _times(values: object) -> str:
    return " × ".join(readable(float(value)) for value in np.asarray(values).tolist())
