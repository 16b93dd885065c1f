"""The model card: data and training of a model, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ldseg.data.split_extension import DataChanges
from ldseg.data.units import spacing_words
from ldseg.planning.plan import Plan
from ldseg.settings import RunSettings
from ldseg.training.budget_settings import describe_budget


def render_card(
    plan: Plan,
    settings: RunSettings,
    data_name: str,
    train_names: Sequence[str],
    log: Sequence[dict[str, Any]] = (),
) -> str:
    """Return the card in Markdown, without results, which evaluation adds. `log` are the records so far."""
    training = settings.training
    kind = "latent diffusion (LDSeg)" if settings.baseline == "none" else f"baseline: {settings.baseline}"
    continued = [record for record in log if record["event"] == "continued"]
    budget = continued[0]["before"] if continued else describe_budget(training)
    structures = ", ".join(name for name in plan.classes if name != next(iter(plan.classes)))
    spacing = spacing_words(plan.axes, plan.spacing, plan.physical_spacing is not False)
    lines = [
        f"# Segmentation of {structures}",
        "",
        f"- Model: {kind}, preset {settings.preset}",
        f"- Data: {data_name}, {len(train_names)} training cases, fold {training.fold} (splits.json)",
        f"- Images: {', '.join(c.name for c in plan.channels)}; axes {plan.axes}; spacing {spacing}",
        f"- Training: {budget}, batch {training.batch}, seed {training.seed}",
        *_history(log),
        "- Licence of the weights: that of the data they were trained on; state it here before sharing",
        "- Not a medical device; not validated for clinical use",
    ]
    return "\n".join(lines) + "\n"


def _history(log: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for the model whose weights the training began with, and one for each continuation."""
    lines: list[str] = []
    for record in log:
        if record["event"] == "transferred":
            source = f"{record['source']} (sha256 {record['sha256'][:12]})"
            lines.append(
                f"- Begun with the weights of {source}, carried over for {record['share']:.0%} of its own"
            )
        elif record["event"] == "continued":
            changes = DataChanges(*(tuple(record[part]) for part in ("added", "removed", "changed")))
            words = "; ".join([f"for {record['budget']}", *changes.sentences()])
            lines.append(f"- Continued: after step {record['step']} {words}")
    return lines
