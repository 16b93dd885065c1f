"""Messages about sampling options that have no effect on the given model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldseg.app.cli.output import note
from ldseg.errors import InputError

if TYPE_CHECKING:
    from ldseg.planning.plan import Plan

_ONE_STEP = "one_step"


def refuse_contradictions(arguments: Any) -> None:
    """Raise InputError if several steps are asked of the one-step sampler."""
    steps, sampler = arguments.steps, getattr(arguments, "sampler", None)
    if sampler == _ONE_STEP and steps is not None and steps > 1:
        raise InputError(f"--sampler {_ONE_STEP} makes one step, --steps is {steps}; leave one of them out")


def ignored_options(stochastic: bool, stepwise: bool, plan: Plan, arguments: Any) -> list[str]:
    """Return a message for each kind of given sampling options that have no effect."""
    steps, samples = arguments.steps, arguments.samples
    sampler, mirror = getattr(arguments, "sampler", None), getattr(arguments, "tta", None)
    found: list[str] = []
    decision = getattr(arguments, "decision", None)
    given = {"--steps": steps, "--samples": None if samples == 1 else samples, "--sampler": sampler}
    given |= {"--decision": None if decision == "argmax" else decision}
    named = [name for name, value in given.items() if value is not None]
    if not stochastic and named:
        verb = "change" if len(named) > 1 else "changes"
        names = ", ".join(named)
        found.append(f"the model is deterministic and gives one prediction: {names} {verb} nothing")
    elif (steps == 1 or sampler == _ONE_STEP) and samples not in (None, 1):
        found.append("one step gives the deterministic prediction: --samples changes nothing")
    elif not stepwise and (of_steps := [name for name in ("--steps", "--sampler") if name in named]):
        verb = "change" if len(of_steps) > 1 else "changes"
        found.append(f"the model draws its samples at once: {', '.join(of_steps)} {verb} nothing")
    if stochastic and decision == "expected-dice" and (samples == 1 or steps == 1 or sampler == _ONE_STEP):
        found.append("of a single segmentation the labels are the argmax: --decision changes nothing")
    if mirror and not plan.mirror_axes:
        found.append("training used no flips: --tta true changes nothing")
    return found


def report_ignored_options(stochastic: bool, stepwise: bool, plan: Plan, arguments: Any) -> None:
    """Print on stderr which sampling options have no effect."""
    for sentence in ignored_options(stochastic, stepwise, plan, arguments):
        note(sentence)
