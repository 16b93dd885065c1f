"""Plan a training that begins with the weights of another model, so that they fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ldseg.errors import InputError
from ldseg.planning.fingerprint import Fingerprint
from ldseg.planning.heuristics import forbidden_flips, resampled_shape
from ldseg.planning.memory import training_memory_gb
from ldseg.planning.plan import Plan

PlanChoice = Literal["new", "source"]
"""new: spacing, patch and strides are planned for the data. source: they are those of the source."""


def check_dimensions(plan: Plan, source: Plan, name: str) -> None:
    """Raise InputError unless the model `name` of the plan `source` is of the dimensions of `plan`."""
    if plan.dimensions != source.dimensions:
        raise InputError(
            f"{name}: segments images of {source.dimensions} dimensions, the data have {plan.dimensions}; "
            "choose a model of theirs, or leave out --from"
        )


def adopt_plan(plan: Plan, fingerprint: Fingerprint, source: Plan, choice: PlanChoice, name: str) -> Plan:
    """Return the plan of a training that begins with the weights of the model `name`, planned as `source`.

    Widths and latent channels are always the source's, since with others no tensor would fit. Channels,
    classes and intensities are planned for the data, and with them the batch, but for choice "source", whose
    patch it was planned for.

    Raises:
        InputError: the source's plan cannot be one of these data: other dimensions or axes, or spacings in
            mm of which one has none.
    """
    check_dimensions(plan, source, name)
    if choice == "source":
        plan = _with_grid_of(plan, fingerprint, source, name)
    last = len(source.widths) - 1
    widths = tuple(source.widths[min(level, last)] for level in range(len(plan.strides)))
    memory = training_memory_gb(plan.patch, plan.strides, widths, len(plan.classes), plan.batch)
    return replace(plan, widths=widths, latent_channels=source.latent_channels, training_memory_gb=memory)


def _with_grid_of(plan: Plan, fingerprint: Fingerprint, source: Plan, name: str) -> Plan:
    """Return the plan with spacing, patch, batch, strides and flips of the source, without flips that would
    exchange structures of the data, or turn over images that have a top."""
    remedy = "leave out --plan source"
    if plan.axes != source.axes:
        raise InputError(f"{name}: is planned for axes {source.axes}, the data have {plan.axes}; {remedy}")
    if source.resample and source.had_spacing not in (None, bool(plan.physical_spacing)):
        units = ("mm", "voxels") if source.had_spacing else ("voxels", "mm")
        raise InputError(
            f"{name}: is planned for a spacing in {units[0]}, the data have it in {units[1]}; {remedy}"
        )
    shapes = [
        resampled_shape(plan.axes, case.shape, case.spacing, source.spacing)
        if source.resample
        else case.shape
        for case in fingerprint.cases
    ]
    forbidden = forbidden_flips(fingerprint)
    return replace(
        plan,
        spacing=source.spacing,
        resample=source.resample,
        patch=source.patch,
        tiled=any(n > p for shape in shapes for n, p in zip(shape, source.patch, strict=True)),
        strides=source.strides,
        latent_levels=source.latent_levels,
        mirror_axes=tuple(axis for axis in source.mirror_axes if axis not in forbidden),
        batch=source.batch,
    )
