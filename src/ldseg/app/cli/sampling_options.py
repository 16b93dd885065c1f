"""Messages about sampling options that have no effect on the given model, or another one than it seems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldseg.app.cli.output import note
from ldseg.errors import InputError

if TYPE_CHECKING:
    from ldseg.inference.base_predictor import BasePredictor
    from ldseg.settings import SamplingSettings

_ONE_STEP = "one_step"


def refuse_contradictions(arguments: Any) -> None:
    """Raise InputError if several steps are asked of the one-step sampler."""
    steps, sampler = arguments.steps, getattr(arguments, "sampler", None)
    if sampler == _ONE_STEP and steps is not None and steps > 1:
        raise InputError(f"--sampler {_ONE_STEP} makes one step, --steps is {steps}; leave one of them out")


def ignored_options(predictor: BasePredictor, sampling: SamplingSettings, arguments: Any) -> list[str]:
    """Return a message for each kind of given sampling options that have no effect or another one.

    `sampling` is what the predictor made of them.
    """
    samples, sampler = arguments.samples, getattr(arguments, "sampler", None)
    decision = getattr(arguments, "decision", None)
    given = {"--steps": arguments.steps, "--samples": None if samples == 1 else samples, "--sampler": sampler}
    given |= {"--decision": None if decision == "argmax" else decision}
    named = [name for name, value in given.items() if value is not None]
    single = sampling.samples == 1
    of_steps = [name for name in ("--steps", "--sampler") if name in named]
    if single and not sampling.single_call:  # several steps draw a sample in place of the single prediction
        of_steps = [name for name in of_steps if name != "--steps"]
    found: list[str] = []
    if not predictor.stochastic:
        if named:
            deterministic = predictor.settings.deterministic
            what = "the model is deterministic and gives" if deterministic else "the graph was made for"
            found.append(f"{what} one prediction: {_change(named)}")
        named = []
    elif sampling.single_call and single and samples not in (None, 1):
        found.append("one step gives the deterministic prediction: --samples changes nothing")
    else:
        if of_steps and not predictor.stepwise:
            single_each = predictor.settings.deterministic  # members of an ensemble
            how = "each member is deterministic" if single_each else "the model draws its samples at once"
            found.append(f"{how}: {_change(of_steps)}")
        elif sampling.single_call and sampler not in (None, _ONE_STEP):
            found.append("one step gives the deterministic prediction: --sampler changes nothing")
        explained = predictor.explain_samples(samples, sampling)
        found += [] if explained is None else [explained]
    if "--decision" in named and single:
        found.append("of a single segmentation the labels are the argmax: --decision changes nothing")
    if getattr(arguments, "tta", None) and not predictor.plan.mirror_axes:
        found.append("training used no flips: --tta true changes nothing")
    return found


def report_ignored_options(predictor: BasePredictor, sampling: SamplingSettings, arguments: Any) -> None:
    """Print on stderr which sampling options have no effect or another one."""
    for sentence in ignored_options(predictor, sampling, arguments):
        note(sentence)


def _change(names: list[str]) -> str:
    """Return a sentence that these options change nothing."""
    return f"{', '.join(names)} {'change' if len(names) > 1 else 'changes'} nothing"
