"""Compares the sampling that is asked for with what a model can compute."""

from __future__ import annotations

from ldseg.errors import InputError
from ldseg.settings import SamplingSettings


def refuse_beyond_graph(
    made: SamplingSettings, deterministic: bool, steps: int | None, samples: int | None, tta: bool | None
) -> None:
    """Refuse what a graph that was exported for a single prediction cannot compute.

    `made` is the sampling that is built into it. A model that is `deterministic` gives that prediction
    whatever the steps and samples, and they are not compared.

    Raises:
        InputError: more samples, other steps or other test-time augmentation are asked for.
    """
    asked: dict[str, tuple[int | None, int]] = {"tta": (tta, made.tta)}
    if not deterministic:
        asked |= {"samples": (samples, made.samples), "steps": (steps, made.steps)}
    for name, (wanted, built_in) in asked.items():
        if wanted is not None and wanted != built_in:
            raise InputError(
                f"{name} is {wanted}, the graph was made with {built_in}; leave out --{name}, or export the "
                f"model again with --{name} {str(wanted).lower()}"
            )


def explain_single(asked: int, deterministic: bool) -> str:
    """Return why a single model gives one prediction where several samples were `asked` for."""
    if deterministic:
        return f"the model is deterministic and gives one prediction, not {asked} samples"
    return f"one step gives the deterministic prediction, not {asked} samples; take 2 steps or more"
