"""What a command says of sampling options that change nothing for the model at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldseg.app.cli.output import note
from ldseg.errors import InputError

if TYPE_CHECKING:
    from ldseg.planning.plan import Plan

_ONE_STEP = "one_step"


def refuse_contradictions(arguments: Any) -> None:
    """Raise InputError for several steps of the sampler that makes one."""
    steps, sampler = arguments.steps, getattr(arguments, "sampler", None)
    if sampler == _ONE_STEP and steps is not None and steps > 1:
        raise InputError(f"--sampler {_ONE_STEP} makes one step, --steps is {steps}; leave one of them out")


def ignored_options(stochastic: bool, plan: Plan, arguments: Any) -> list[str]:
    """Return a sentence for the options of sampling that were given and change nothing."""
    steps, samples = arguments.steps, arguments.samples
    sampler, mirror = getattr(arguments, "sampler", None), getattr(arguments, "tta", None)
    found: list[str] = []
    given = {"--steps": steps, "--samples": None if samples == 1 else samples, "--sampler": sampler}
    named = [name for name, value in given.items() if value is not None]
    if not stochastic and named:
        verb = "change" if len(named) > 1 else "changes"
        found.append(f"the model is deterministic and gives one answer: {', '.join(named)} {verb} nothing")
    if mirror and not plan.mirror_axes:
        found.append("the training mirrored no axis: --tta true changes nothing")
    return found


def report_ignored_options(stochastic: bool, plan: Plan, arguments: Any) -> None:
    """Say for whoever watches which options change nothing."""
    for sentence in ignored_options(stochastic, plan, arguments):
        note(sentence)
