"""Define `Plan`: all that prediction needs to repeat training's preprocessing, as a file a person may edit.

Sizes and spacings are in the order of `axes` (slowest first), after reorientation to the canonical grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

from ldseg.data.dataset import DataSet
from ldseg.data.ranges import ChannelRange, channel_ranges
from ldseg.errors import InputError
from ldseg.planning.architecture import plan_architecture
from ldseg.planning.fingerprint import Fingerprint
from ldseg.planning.heuristics import (
    COLOR_NAMES,
    ChannelPlan,
    plan_channels,
    plan_mirror_axes,
    plan_resampling,
    plan_spacing,
    resampled_shape,
    smallest_width,
)
from ldseg.planning.intensity_statistics import ChannelStatistics
from ldseg.planning.patch import architecture_memory_gb, check_patch, plan_batch, plan_patch
from ldseg.planning.settings import PlanSettings
from ldseg.utils.serialization import from_json, read_versioned, write_json_atomic

__all__ = ["PLAN_VERSION", "ChannelPlan", "Plan", "PlanSettings", "make_plan", "read_plan", "write_plan"]

PLAN_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """The plan of one data set: grid, patch, architecture and batch."""

    version: int
    dimensions: Literal[2, 3]
    axes: Literal["yx", "zyx", "tyx"]
    channels: tuple[ChannelPlan, ...]
    classes: dict[str, int]
    """Name to id in the files, background first, ascending ids; the network's class k is the k-th entry."""
    ignore_id: int | None
    labels_above_zero: bool
    """Every id above zero means class 1 (instance masks)."""
    file_ending: str
    """Ending of the training labels, e.g. ".nii.gz" or ".png"."""
    spacing: tuple[float, ...]
    """Target spacing, in mm if `physical_spacing`, else in the images' own voxels; an image is resampled to
    it before the network, but never along t."""
    patch: tuple[int, ...]
    """Voxels that the network sees at once; each a multiple of the product of `strides` of its axis."""
    tiled: bool
    """False when every training image fits one patch."""
    strides: tuple[tuple[int, ...], ...]
    """Factor per level and axis; the first is the space-to-depth stem. The product over the first
    `latent_levels` levels is the factor f of the latent grid, the rest belong to the denoiser."""
    latent_levels: int
    latent_channels: int
    widths: tuple[int, ...]
    """Channels of each level, as many as `strides`."""
    batch: int
    mirror_axes: tuple[int, ...]
    """Axes that augmentation may flip, as indices into `axes`."""
    training_memory_gb: float
    """Estimated peak of a training step, in GB."""
    resample: bool = True
    """Whether images are brought to `spacing`; False keeps each image's own voxels."""
    appearance: tuple[ChannelStatistics, ...] = ()
    """Intensity statistics of the training images for each channel; empty where they are not known. An image
    that deviates from them is harmonized before it is segmented (`preprocessing.harmonize`)."""
    ranges: tuple[ChannelRange, ...] = ()
    """Number ranges of the training images for each channel; empty where they are not known. An image on
    another number scale is converted, or refused (`preprocessing.number_scale`)."""

    physical_spacing: bool | None = None
    """Whether the training images had a physical spacing. An image that differs from them in this keeps
    its own voxels. None: the plan was made before this was recorded (see `had_spacing`)."""

    channel_files: bool | None = None
    """Whether training images are named NAME_0000, NAME_0001 ... or are a file for each channel; None where
    that is not known. Prediction takes such names for channels accordingly (`data.channels`)."""

    @property
    def is_colour(self) -> bool:
        """Return whether images are in color, by the channels' names or by a fixed range of each."""
        names = tuple(channel.name.casefold() for channel in self.channels)
        ranges = all(channel.scheme == "range" for channel in self.channels)
        return names in COLOR_NAMES or (len(names) == len(COLOR_NAMES[0]) and ranges)

    @property
    def stored_in_channel_files(self) -> bool | None:
        """Return `channel_files`; where it is not known, False for color images, which are one file."""
        names = tuple(channel.name.casefold() for channel in self.channels)
        return False if self.channel_files is None and names in COLOR_NAMES else self.channel_files

    @property
    def had_spacing(self) -> bool | None:
        """Return `physical_spacing`; where it is not recorded, True for a `spacing` that cannot be in voxels.

        None where it is unknown; every image then counts as having the same kind of spacing.
        """
        space = [step for axis, step in zip(self.axes, self.spacing, strict=True) if axis != "t"]
        in_mm = True if any(step != 1.0 for step in space) else None
        return in_mm if self.physical_spacing is None else self.physical_spacing

    @property
    def factor(self) -> tuple[int, ...]:
        """Return the product of all strides per axis."""
        return tuple(prod(axis) for axis in zip(*self.strides, strict=True))

    @property
    def latent_factor(self) -> tuple[int, ...]:
        """Return the voxels of the target grid per cell of the latent grid, per axis."""
        return tuple(prod(axis) for axis in zip(*self.strides[: self.latent_levels], strict=True))


def make_plan(fingerprint: Fingerprint, dataset: DataSet, settings: PlanSettings) -> Plan:
    """Return the plan for a data set; the same fingerprint, settings and memory give the same plan.

    Raises InputError for settings that do not fit the data (number of axes, a patch that does not divide).
    """
    for name, value in (("spacing", settings.spacing), ("patch", settings.patch)):
        if value is not None and len(value) != len(fingerprint.axes):
            needed = f"{len(fingerprint.axes)} numbers, one for each of {fingerprint.axes}"
            raise InputError(f"planning.{name} is {value}; give {needed}")
    axes, classes, budget = fingerprint.axes, len(dataset.classes), settings.budget_gb()
    spacing = settings.spacing or plan_spacing(fingerprint)
    resample = settings.spacing is not None or plan_resampling(fingerprint)
    shapes = [
        resampled_shape(axes, case.shape, case.spacing, spacing) if resample else case.shape
        for case in fingerprint.cases
    ]
    width = smallest_width(fingerprint, spacing, resample)
    if settings.patch is None:
        patch, architecture = plan_patch(axes, shapes, spacing, width, classes, budget)
    else:
        patch, architecture = settings.patch, plan_architecture(axes, settings.patch, spacing, width)
        check_patch(axes, patch, architecture.factor)
    batch = settings.batch or plan_batch(patch, architecture, classes, budget)
    return Plan(
        version=PLAN_VERSION,
        dimensions=2 if len(axes) == 2 else 3,
        axes=axes,
        channels=plan_channels(fingerprint, settings.normalization == "unit"),
        classes=dict(sorted(dataset.classes.items(), key=lambda entry: entry[1])),
        ignore_id=dataset.ignore_id,
        labels_above_zero=dataset.labels_above_zero,
        file_ending=dataset.file_ending,
        spacing=tuple(float(step) for step in spacing),
        patch=patch,
        tiled=any(n > p for shape in shapes for n, p in zip(shape, patch, strict=True)),
        strides=architecture.strides,
        latent_levels=architecture.latent_levels,
        latent_channels=architecture.latent_channels,
        widths=architecture.widths,
        batch=batch,
        mirror_axes=plan_mirror_axes(fingerprint),
        training_memory_gb=architecture_memory_gb(patch, architecture, classes, batch),
        resample=resample,
        channel_files=dataset.channel_files,
        physical_spacing=fingerprint.physical,
        ranges=channel_ranges(fingerprint.ranges) if fingerprint.ranges else (),
    )


def write_plan(path: Path, plan: Plan) -> None:
    """Write the plan as JSON, whole or not at all."""
    check_plan(plan)
    write_json_atomic(path, plan)


def read_plan(path: Path) -> Plan:
    """Return the plan in a file. Raises InputError when it is missing, damaged or newer."""
    data = read_versioned(path, PLAN_VERSION, "make it again with `ldseg plan`")
    plan = from_json(Plan, {"version": PLAN_VERSION, **data}, str(path))
    try:
        check_plan(plan)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return plan


def check_plan(plan: Plan) -> None:
    """Raise InputError when the plan's fields contradict each other, as an edit by hand may make them."""
    count, levels = len(plan.axes), len(plan.strides)
    ids = list(plan.classes.values())
    findings = {
        "dimensions": plan.dimensions == count,
        "spacing": len(plan.spacing) == count and min(plan.spacing) > 0,
        "patch": len(plan.patch) == count and min(plan.patch) > 0,
        "strides": levels > 0 and all(len(s) == count and min(s) > 0 for s in plan.strides),
        "widths": len(plan.widths) == levels and min(plan.widths) > 0,
        "latent_levels": 1 <= plan.latent_levels <= levels,
        "latent_channels": plan.latent_channels > 0,
        "batch": plan.batch > 0,
        "channels": len(plan.channels) > 0,
        "classes": len(ids) >= 2 and ids == sorted(set(ids)) and plan.ignore_id not in ids,
        "mirror_axes": all(0 <= axis < count for axis in plan.mirror_axes),
    }
    remedies = {
        "classes": "list at least background and one structure by ascending ids, none of them the ignore id",
        "latent_levels": f"choose 1 to {levels}, the number of strides",
        "widths": f"give {levels} numbers above 0, one for each of the strides",
        "latent_channels": "give a number above 0",
        "batch": "give a number above 0",
        "channels": "describe at least one",
        "mirror_axes": f"use indices below {count}",
        "dimensions": f"it must be {count}, the number of axes",
    }
    for field, holds in findings.items():
        if not holds:
            remedy = remedies.get(field, f"give values above 0, one for each of the axes {plan.axes}")
            raise InputError(f"{field} is {getattr(plan, field)}; {remedy}")
    if len(plan.appearance) not in (0, len(plan.channels)):
        raise InputError(
            f"appearance is of {len(plan.appearance)} channels; give {len(plan.channels)} or none"
        )
    if len(plan.ranges) not in (0, len(plan.channels)):
        raise InputError(f"ranges is of {len(plan.ranges)} channels; give {len(plan.channels)} or none")
    check_patch(plan.axes, plan.patch, plan.factor)
