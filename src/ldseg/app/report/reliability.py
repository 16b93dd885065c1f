"""Notes at the top of the page: reasons not to rely on the model, or on the numbers about it."""

from __future__ import annotations

from ldseg.app.report.collect import ReportData
from ldseg.app.report.curves import last_warnings

_USABLE_DICE = 0.5
"""Mean Dice below which most of what is marked is wrong."""
_OF_SEEN = {
    "some": "The model was trained on some of these cases; the scores are better than on new ones.",
    "unknown": "Nothing says which cases trained this model (it has no splits.json): if some of these did, "
    "the scores are better than on new ones.",
}
_FEW_TO_FIT, _FEW_TO_MEASURE = 10, 5
"""Cases; below them the calibration, or a mean, says little."""


def reliability_notes(report: ReportData) -> list[str]:
    """Return one sentence for each reason not to rely on the model or its figures; none for a sound one."""
    notes = [_OF_SEEN[report.evaluation.seen]] if report.evaluation.seen != "none" else []
    dice, measured, fitted = report.scores.mean_dice, len(report.scores.cases), report.calibrated_on
    if dice < _USABLE_DICE:
        steps = max((record["step"] for record in report.records if "step" in record), default=None)
        trained = "" if steps is None else f" after {steps:,} training steps"
        notes.append(
            f"Do not rely on this model: its mean Dice is {dice:.2f}{trained}, so most of what it marks is "
            "wrong. Train it for longer, or look at its training below."
        )
        notes += [f"The training warned: {line}." for line in last_warnings(report.records)]
    if not report.recalibrated:
        notes.append("The probabilities and intervals are not calibrated; ldseg calibrate does it.")
    elif fitted is not None and fitted < _FEW_TO_FIT:
        notes.append(
            f"The calibration and the volume intervals were fitted on {_cases(fitted)}: they may hold the "
            "true value less often than they say."
        )
    if measured < _FEW_TO_MEASURE:
        notes.append(f"The scores are of {_cases(measured)}: another choice of cases can change them much.")
    return notes


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"
