"""The model card: data and training of a model, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from ldseg.data.units import spacing_words
from ldseg.planning.plan import Plan
from ldseg.settings import RunSettings


def render_card(plan: Plan, settings: RunSettings, data_name: str, train_names: Sequence[str]) -> str:
    """Return the card in Markdown, without results, which evaluation adds."""
    training = settings.training
    kind = "latent diffusion (LDSeg)" if settings.baseline == "none" else f"baseline: {settings.baseline}"
    budgets = ("steps", "minutes", "cpu_minutes", "epochs")
    budget = ", ".join(f"{getattr(training, b)} {b}" for b in budgets if getattr(training, b) is not None)
    structures = ", ".join(name for name in plan.classes if name != next(iter(plan.classes)))
    spacing = spacing_words(plan.axes, plan.spacing, plan.physical_spacing is not False)
    lines = [
        f"# Segmentation of {structures}",
        "",
        f"- Model: {kind}, preset {settings.preset}",
        f"- Data: {data_name}, {len(train_names)} training cases, fold {training.fold} (splits.json)",
        f"- Images: {', '.join(c.name for c in plan.channels)}; axes {plan.axes}; spacing {spacing}",
        f"- Training: {budget}, batch {training.batch}, seed {training.seed}",
        "- Licence of the weights: that of the data they were trained on; state it here before sharing",
        "- Not a medical device; not validated for clinical use",
    ]
    return "\n".join(lines) + "\n"
