"""ldseg train: from a folder of images and masks to a model."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ldseg.app.cli.options import (
    add_allow_code,
    add_data_section,
    add_json,
    add_section,
    data_options,
    given_section,
)
from ldseg.app.cli.output import Progress, note, print_json, print_line, progress
from ldseg.app.cli.plan import add_run_arguments, plan_settings, split_options
from ldseg.errors import InputError, listed

if TYPE_CHECKING:
    from ldseg.training.trainer import TrainingResult
    from ldseg.utils.distributed import DistributedContext

SUMMARY = "Train a model on a folder of images and masks."
USAGE = "DATA -o RUN [options]"
EXAMPLE = "ldseg train Dataset004_Hippocampus -o runs/hippocampus --minutes 30"
SECTIONS = ("model", "loss", "augment", "training", "sampling")
TRAINING_ALIASES = {
    "training.steps": "--steps",
    "training.minutes": "--minutes",
    "training.cpu_minutes": "--cpu-minutes",
    "training.epochs": "--epochs",
    "training.fold": "--fold",
    "training.seed": "--seed",
}
_INTERRUPTED = 130
_NOTABLE = 0.001
"""Gain of mean Dice that is shown as a number."""
_TELLING = 0.5
"""Progress from which on warnings of a validation are shown: before it they are mostly normal."""


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    from typing import get_type_hints

    from ldseg.settings import RunSettings

    add_run_arguments(parser)
    parser.add_argument("--preset", help="default or paper (as published); default by default")
    parser.add_argument(
        "--augmentation", help="default: that of the default preset, also with --preset paper (flips only)"
    )
    parser.add_argument(
        "--baseline", help="train a baseline instead: unet, pixel_diffusion, ssn, probabilistic_unet"
    )
    parser.add_argument("--resume", action="store_true", help="end the interrupted training in RUN")
    parser.add_argument(
        "--until-flat",
        action="store_true",
        help="end when validation has stopped improving; a budget is then the most that training may take",
    )
    parser.add_argument(
        "--continue",
        dest="continue_training",
        action="store_true",
        help="go on with the training in RUN for longer, e.g. --minutes 60, on the data as they are now",
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="MODEL",
        help="begin with the weights of this model, a folder or a shipped model's name, as far as they fit",
    )
    parser.add_argument(
        "--plan",
        choices=("new", "source"),
        default="new",
        help="source: with --from, take spacing, patch, batch and strides of that model's plan",
    )
    parser.add_argument(
        "--folds",
        type=int | None,
        metavar="K",
        help="train the K models of a cross-validation into RUN/fold_0 ..., one after the other",
    )
    parser.add_argument("--device", help="e.g. cpu, cuda, cuda:1, mps; the best one here by default")
    parser.add_argument(
        "--config", action="config", help="YAML file with any of these, e.g. training: {steps: 9}"
    )
    add_allow_code(parser)
    add_json(parser)
    add_data_section(parser)
    kinds = get_type_hints(RunSettings)
    for section in SECTIONS:
        add_section(parser, kinds[section], section, TRAINING_ALIASES)


def run(arguments: Any) -> int:
    """Train a model and return 0, or 130 if interrupted."""
    from ldseg.utils.distributed import distributed_context
    from ldseg.utils.system import keep_freed_memory

    keep_freed_memory()
    with distributed_context(arguments.device) as context:
        return _train(arguments, context)


def _train(arguments: Any, context: DistributedContext) -> int:
    from ldseg.api import train_run
    from ldseg.app.cli.destination import check_output_folder
    from ldseg.training.run_settings import unused_settings

    context.run_on_all_ranks(lambda: check_output_folder(arguments.output))
    changes = _changes(arguments)
    if context.is_rank_zero:
        for name in unused_settings(changes):
            note(f"--{name} changes nothing with --baseline {arguments.baseline}")
    with progress("training", shown=context.is_rank_zero) as bar:
        result = train_run(
            arguments.dataset,
            arguments.output,
            arguments.preset,
            changes,
            data_options(arguments),
            plan_settings(arguments),
            split_options(arguments),
            arguments.resume,
            arguments.device,
            ProgressReporter(bar),
            context,
            arguments.folds,
            arguments.continue_training,
            arguments.source,
            arguments.plan,
            arguments.allow_code,
        )
    if context.is_rank_zero:
        _tell(arguments, result)
    return _INTERRUPTED if result.interrupted else 0


def _tell(arguments: Any, result: TrainingResult) -> None:
    """Print how the training ended, and what may follow."""
    from ldseg.runs.folds import begun_folds

    if arguments.json:
        print_json({**vars(result), "folder": str(result.folder)})
    if result.interrupted:
        again = shlex.join(
            ["ldseg", "train", str(arguments.dataset), "-o", str(arguments.output), "--resume"]
        )
        note(f"interrupted after {result.steps} steps, saved in {result.folder}; go on: {again}")
        return
    if arguments.json:
        return
    dice = "no validation" if result.dice is None else f"validation Dice {result.dice:.3f}"
    ended = f"{result.steps} steps, {dice}; the model is in {result.folder}"
    if result.already:
        print_line(f"this training has ended already, nothing was done: {ended}")
        print_line("its budget is used up; to train longer, say how much: --continue --minutes 60")
    else:
        print_line(ended)
    folder = shlex.quote(str(result.folder))
    folds = begun_folds(result.folder)
    if folds:
        print_line(f"score its folds on the cases that each had not seen: ldseg evaluate {folder}")
    flag = " --allow-code" if arguments.allow_code else ""
    print_line(f"segment with it: ldseg predict IMAGE -m {folder} -o OUT{flag}")
    if result.dice is not None and not folds:
        print_line(f"see how good it is: ldseg report {folder}{flag}")


def duration(seconds: float) -> str:
    """Return a duration in words, e.g. "40 s", "12 min" or "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def _changes(arguments: Any) -> dict[str, Any]:
    """Return the settings that the arguments change. Raises InputError for a contradiction."""
    changes: dict[str, Any] = {section: given_section(arguments, section) for section in SECTIONS}
    if arguments.until_flat:
        if changes["training"].get("until_flat") is False:
            raise InputError("--until-flat contradicts --training.until_flat false; give one")
        changes["training"]["until_flat"] = True
    if arguments.augmentation is not None:
        changes["augment"] = default_augmentation(arguments.augmentation) | changes["augment"]
    changes = {section: given for section, given in changes.items() if given}
    return changes if arguments.baseline is None else {**changes, "baseline": arguments.baseline}


def default_augmentation(asked: str) -> dict[str, Any]:
    """Return the default preset's augmentation. Raises InputError if something else is asked for."""
    from ldseg.settings import AugmentSettings
    from ldseg.utils.serialization import to_json

    if asked != "default":
        raise InputError(f"--augmentation is {asked!r}; choose default, or leave it out for the preset's own")
    return to_json(AugmentSettings())


class ProgressReporter:
    """Shows training events on the terminal."""

    def __init__(self, bar: Progress) -> None:
        self.bar, self.prepared = bar, 0
        self.later_folds = 0

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event; events without a message are ignored."""
        show = getattr(self, f"_{event['event']}", None)
        if show is not None:
            show(event)

    def _settings(self, event: dict[str, Any]) -> None:
        counts = ", ".join(f"{event[part]} to {part}" for part in ("train", "validation", "test"))
        fold = "" if event["fold"] is None else f"fold {event['fold']}: "
        self.later_folds = 0 if event["folds"] is None else event["folds"] - event["fold"] - 1
        self.bar.report(f"{fold}budget: {event['budget']}; cases: {counts}; into {event['run']}")

    def _continued(self, event: dict[str, Any]) -> None:
        for change in event["changes"] or ["the data are as they were"]:
            self.bar.report(f"continued: {change}")

    def _transferred(self, event: dict[str, Any]) -> None:
        new = listed(event["new"], 3)
        parts = [
            f"{len(event['carried'])} tensors as they are",
            f"{len(event['in_part'])} for other classes or channels",
            f"{len(event['new'])} are new{f' ({new})' if new else ''}",
        ]
        source = f"begins with the weights of {event['source']} for {event['share']:.0%} of its own"
        self.bar.report(f"{source}: {', '.join(parts)}; all names are in log.jsonl")

    def _start(self, event: dict[str, Any]) -> None:
        prepared = f"{event['cases']} cases prepared in {duration(event['preparation_seconds'])}"
        where = f"{event['device']}, {event['precision']}, {event['batch']} cases a step"
        self.bar.report(f"on {where}; {prepared}")

    def _pace(self, event: dict[str, Any]) -> None:
        parts = ", ".join(
            f"{duration(event[f'{part}_seconds'])} of {part}"
            for part in ("training", "validation", "calibration")
        )
        ends = f"{datetime.now() + timedelta(seconds=event['seconds']):%H:%M}"
        in_all = duration(event["seconds"])
        text = f"{event['seconds_per_step']:.2g} s a step; about {parts}: ends at about {ends}, in {in_all}"
        if self.later_folds:
            with_later = duration(event["seconds"] * (1 + self.later_folds))
            text += f"; with the folds after it, in {with_later}"
        self.bar.report(text)

    def _flat(self, event: dict[str, Any]) -> None:
        self.bar.report(
            f"step {event['step']}: validation is flat at Dice {event['dice']:.3f}; the learning rate falls "
            "now, and training ends after a quarter more of its time so far"
        )

    def _gain(self, event: dict[str, Any]) -> None:
        if event["flat"]:
            self.bar.report("validation has stopped improving: longer training is likely to gain little")
        else:
            above = "validation has not settled yet"  # the mean Dice is small, or of a class rises
            if event["gain"] >= _NOTABLE:
                above = (
                    f"the last three validations are on average {event['gain']:.3f} above the three before"
                )
            self.bar.report(f"{above}: longer training may gain more (--continue --minutes 60)")

    def _prepared(self, event: dict[str, Any]) -> None:
        self.prepared += 1
        self.bar.show(0.0, f"preparing {event['case']} ({self.prepared})")

    def _losses(self, event: dict[str, Any]) -> None:
        parts = "  ".join(f"{name} {value:.3f}" for name, value in event["losses"].items())
        self.bar.show(event["progress"], f"step {event['step']}  {parts}")

    def _validation(self, event: dict[str, Any]) -> None:
        ceiling = event.get("ceiling")
        beside = "" if ceiling is None else f" (autoencoder alone {ceiling:.3f})"
        self.bar.report(f"step {event['step']}: validation Dice {event['dice']:.3f}{beside}")
        if event["progress"] >= _TELLING:
            self._warning(event)

    def _encoding(self, event: dict[str, Any]) -> None:
        self.bar.show(event["progress"], f"learning what training images look like: {event['case']}")

    def _calibrating(self, event: dict[str, Any]) -> None:
        self.bar.show(event["progress"], f"calibrating on validation cases: {event['case']}")

    def _warning(self, event: dict[str, Any]) -> None:
        for warning in event.get("warnings", ()):
            self.bar.report(f"warning: {warning}")
