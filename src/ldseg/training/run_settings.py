"""The settings of a training: those of a preset with the user's changes, or those that a run has stored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldseg.errors import InputError
from ldseg.planning.adoption import PlanChoice
from ldseg.planning.plan import Plan
from ldseg.presets import PRESETS
from ldseg.runs.files import PLAN_FILE, SETTINGS_FILE
from ldseg.settings import AugmentSettings, RunSettings, TrainingSettings
from ldseg.training.budget_settings import given_budget, with_default_budget
from ldseg.utils.serialization import with_changes

if TYPE_CHECKING:
    from ldseg.runs.source import Source


@dataclass(frozen=True)
class _WithoutPlan:
    """The part of the settings that can be checked without a plan."""

    training: TrainingSettings = field(default_factory=TrainingSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)


def check_training(preset: str | None, changes: dict[str, Any]) -> None:
    """Raise InputError for an illegal preset, budget, or setting of training or augmentation, which needs no
    plan to be seen."""
    if preset is not None and preset not in PRESETS:
        raise InputError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}")
    given = {name: value for name, value in changes.items() if name in ("training", "augment")}
    training = with_changes(_WithoutPlan(), given, "").training
    given_budget(with_default_budget(training))


_OF_THE_LATENT = {
    "loss": (
        "latent_draws",
        "reconstruction",
        "reconstruction_share",
        "feature_drop",
        "stop_latent_gradient",
        "decode",
    )
}
"""Settings that no baseline reads."""
_OF_DIFFUSION = {"loss": ("latent",), "model": ("noise", "denoiser")}
"""Settings that no baseline but diffusion on the label map reads."""
_UNREAD = {
    "pixel_diffusion": (_OF_THE_LATENT,),
    **dict.fromkeys(("unet", "ssn", "probabilistic_unet"), (_OF_THE_LATENT, _OF_DIFFUSION)),
}
"""By baseline."""


def unused_settings(changes: dict[str, Any]) -> list[str]:
    """Return which of `changes` the chosen baseline does not read, as names of settings."""
    return [
        f"{section}.{name}"
        for settings in _UNREAD.get(changes.get("baseline", "none"), ())
        for section, names in settings.items()
        for name in names
        if name in changes.get(section, {})
    ]


def make_settings(
    plan: Plan, preset: str, changes: dict[str, Any], plan_file: Path, allow_code: bool = False
) -> RunSettings:
    """Return the preset's settings for `plan` with `changes`, and with the default budget if none is given.

    Raises:
        InputError: an unknown preset, field or part, an illegal value, several budgets, a model that cannot
            be built or does not fit the plan, or code that is not allowed.
    """
    if preset not in PRESETS:
        raise InputError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}")
    return _completed(plan, PRESETS[preset](plan), changes, plan_file, allow_code)


def settings_from_source(
    plan: Plan,
    source: Source,
    choice: PlanChoice,
    preset: str | None,
    changes: dict[str, Any],
    plan_file: Path,
    allow_code: bool = False,
) -> RunSettings:
    """Return the settings of a training that begins with the weights of `source`.

    They are those of the source's preset unless another is named; with the source's plan the model is built
    as the source's, for the channels and classes of `plan`.

    Raises:
        InputError: like `make_settings`, and for a source of other dimensions or another architecture.
    """
    from ldseg.runs.parts import admit_parts
    from ldseg.training.transfer import check_source

    theirs = source.settings()
    admit_parts(theirs, allow_code, str(source.folder / SETTINGS_FILE))
    settings = PRESETS[preset or (theirs.preset if theirs.preset in PRESETS else "default")](plan)
    if choice == "source":
        channels, classes = len(plan.channels), len(plan.classes)
        settings = replace(settings, model=replace(theirs.model, in_channels=channels, classes=classes))
    settings = _completed(plan, replace(settings, baseline=theirs.baseline), changes, plan_file, allow_code)
    check_source(plan, settings, source)
    return settings


def _completed(
    plan: Plan, settings: RunSettings, changes: dict[str, Any], plan_file: Path, allow_code: bool
) -> RunSettings:
    """Return the settings with `changes` and a budget. Raises InputError if they do not fit `plan`, or name
    code that is not allowed."""
    from ldseg.runs.parts import admit_parts
    from ldseg.runs.saved_model import build_segmenter, check_fit

    settings = with_changes(settings, changes, "")
    settings = replace(settings, training=with_default_budget(settings.training))
    given_budget(settings.training)
    admit_parts(settings, allow_code, "settings")
    check_fit(plan, settings, build_segmenter(settings), plan_file)
    return settings


def stored_settings(plan: Plan, run: Path, allow_code: bool = False) -> RunSettings:
    """Return the settings that the run began with. Raises InputError: damaged, they do not fit `plan`, or
    name code that is not allowed."""
    from ldseg.runs.parts import admit_parts
    from ldseg.runs.saved_model import build_segmenter, check_fit, read_settings

    settings = read_settings(run / SETTINGS_FILE)
    admit_parts(settings, allow_code, str(run / SETTINGS_FILE))
    check_fit(plan, settings, build_segmenter(settings), run / PLAN_FILE)
    return settings
