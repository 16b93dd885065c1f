"""Describe a data set: grids, intensities, classes and the width of the structures to segment.

Cases are read one at a time. Grids are in canonical order (see orientation.py). The same cases give the same
fingerprint, whatever their order in time: samples are drawn with a seed of the name.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ldseg.data.checks import empty_masks_error
from ldseg.data.dataset import Case, DataSet, load_case
from ldseg.data.file_names import name_key
from ldseg.data.ranges import ImageRange, image_range
from ldseg.data.units import OneUnit, voxel_size
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.planning.components import component_widths
from ldseg.planning.direction import Asymmetry, Direction, asymmetry_of, direction_of
from ldseg.planning.orientation import orientation_of
from ldseg.utils.serialization import from_json, read_versioned, write_json_atomic

FINGERPRINT_VERSION = 1
SAMPLED_VOXELS = 2_000_000
"""Foreground voxels per channel kept for the intensity statistics of the whole set."""
SAMPLED_PER_CASE = 10_000
WIDTH_PERCENTILE = 10
COLOR_SHARE = 0.15
"""Three channels are a color image when they differ from their mean by this share of its deviation.

A tint that a screen or a video grabber adds to gray images stays below a tenth of that.
"""


@dataclass(frozen=True)
class CaseFingerprint:
    """The grid of one case."""

    name: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]


@dataclass(frozen=True)
class ChannelFingerprint:
    """Intensities of one channel: range of the whole images, statistics within the foreground."""

    name: str
    minimum: float
    maximum: float
    whole_numbers: bool
    """Every voxel of every image is an integer."""
    low: float
    """0.5th percentile of the foreground."""
    high: float
    """99.5th percentile of the foreground."""
    mean: float
    deviation: float


@dataclass(frozen=True)
class ClassFingerprint:
    """Size and frequency of one structure over all cases and raters."""

    name: str
    cases: int
    """Cases that have it."""
    frequency: float
    """Share of all labelled voxels."""
    volume_median: float
    """Over the cases that have it, in the unit of `data.units.size_unit`."""
    volume_smallest: float
    width: tuple[float, ...]
    """10th percentile of the components' widths per axis, in mm, or in voxels without a physical spacing; 0
    where no case has it."""
    width_voxels: tuple[float, ...]
    """The same in voxels of the images' own grids."""


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of one data set."""

    version: int
    axes: Literal["yx", "zyx", "tyx"]
    cases: tuple[CaseFingerprint, ...]
    channels: tuple[ChannelFingerprint, ...]
    colour: bool
    """True for a photograph or stained section: three channels that differ, not gray values in triplicate."""
    classes: tuple[ClassFingerprint, ...]
    """Structures without the background, in the order of their ids."""
    anisotropy: float
    """Largest over smallest spacing of the median spatial spacing."""
    physical: bool | None = None
    """Whether the images have a physical spacing; None where it was not recorded."""
    ranges: tuple[ImageRange, ...] = ()
    """The numbers of each image as they are in its file, in the order of `cases`."""
    direction: Direction | None = None
    """Tells whether pictures have a top and a bottom; None in 3D and 2D+time, and of few subjects."""


@dataclass
class _ChannelAccumulator:
    minimum: float = np.inf
    maximum: float = -np.inf
    whole_numbers: bool = True


@dataclass
class _ClassAccumulator:
    cases: int = 0
    """Cases of which a rater marked it."""
    voxels: int = 0
    volumes: list[float] = field(default_factory=list[float])
    widths: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])
    widths_voxels: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])


@dataclass
class _Accumulator:
    """Everything that was measured so far."""

    channels: list[_ChannelAccumulator]
    classes: dict[int, _ClassAccumulator]
    cases: list[CaseFingerprint] = field(default_factory=list[CaseFingerprint])
    ranges: list[ImageRange] = field(default_factory=list[ImageRange])
    samples: list[NDArray[np.float32]] = field(default_factory=list[NDArray[np.float32]])
    voxels: int = 0
    units: OneUnit = field(default_factory=OneUnit)
    physical: bool = True
    asymmetries: dict[str, list[Asymmetry]] = field(default_factory=dict[str, list[Asymmetry]])
    """By subject."""


def take_fingerprint(dataset: DataSet, cases: Sequence[Case]) -> Fingerprint:
    """Return the fingerprint of `cases`, which are read one after the other.

    Raises InputError when there is no case, one is unreadable, none has any foreground, or
    some have a physical spacing and others none.
    """
    if not cases:
        raise InputError(f"{dataset.root}: no case to read; give at least one image with its mask")
    foreground_ids = sorted(dataset.classes.values())[1:]
    total = _Accumulator(
        [_ChannelAccumulator() for _ in dataset.channel_names],
        {i: _ClassAccumulator() for i in foreground_ids},
    )
    per_case = max(100, min(SAMPLED_PER_CASE, SAMPLED_VOXELS // len(cases)))
    for case in cases:
        image, raters = load_case(dataset, case)
        total.units.add(str(case.images[0]), image.physical)
        total.physical = image.physical
        _count_image(total, case.name, image)
        _count_labels(total, dataset, raters)
        if dataset.axes == "yx":
            found = asymmetry_of(image, raters, foreground_ids)
            total.asymmetries.setdefault(case.subject, []).append(found)
        total.samples.append(_sample_foreground(dataset, case.name, image, raters, per_case))
    return _summary(dataset, total)


def write_fingerprint(path: Path, fingerprint: Fingerprint) -> None:
    """Write the fingerprint as JSON."""
    write_json_atomic(path, fingerprint)


def read_fingerprint(path: Path) -> Fingerprint:
    """Return what `write_fingerprint` wrote. Raises InputError when it is damaged."""
    data = read_versioned(path, FINGERPRINT_VERSION, "make it again with `ldseg plan`")
    return from_json(Fingerprint, {"version": FINGERPRINT_VERSION, **data}, str(path))


def _count_image(total: _Accumulator, name: str, image: Volume) -> None:
    orientation = orientation_of(image)
    total.cases.append(
        CaseFingerprint(name, orientation.permuted(image.shape), orientation.permuted(image.spacing))
    )
    found = image_range(name, image)
    total.ranges.append(found)
    pairs = zip(found.minimum, found.maximum, strict=True)
    for channel, values, (low, high) in zip(total.channels, image.array, pairs, strict=True):
        channel.minimum = min(channel.minimum, low)
        channel.maximum = max(channel.maximum, high)
        channel.whole_numbers = channel.whole_numbers and bool((values == np.rint(values)).all())


def _count_labels(total: _Accumulator, dataset: DataSet, raters: Iterable[Volume]) -> None:
    marked: set[int] = set()
    for labels in raters:
        orientation = orientation_of(labels)
        spacing = np.asarray(orientation.permuted(labels.spacing))
        total.voxels += int(np.count_nonzero(labels.array != _ignored(dataset)))
        for class_id, one in total.classes.items():
            mask = labels.array[0] == class_id
            voxels = int(np.count_nonzero(mask))
            if voxels:
                marked.add(class_id)
                one.voxels += voxels
                one.volumes.append(voxels * voxel_size(labels.axes, orientation.permuted(labels.spacing)))
                widths = component_widths(mask)[:, list(orientation.permutation)]
                one.widths_voxels.append(widths)
                one.widths.append(widths * spacing)
    for class_id in marked:
        total.classes[class_id].cases += 1


def _ignored(dataset: DataSet) -> int:
    """Return the ignore id, or -1, which is no id, without one."""
    return -1 if dataset.ignore_id is None else dataset.ignore_id


def _sample_foreground(
    dataset: DataSet, name: str, image: Volume, raters: Sequence[Volume], count: int
) -> NDArray[np.float32]:
    """Return (M, n <= count) intensities of foreground voxels, drawn with a seed of the case's name."""
    foreground = np.zeros(image.shape, dtype=bool)
    for labels in raters:
        foreground |= (labels.array[0] > 0) & (labels.array[0] != _ignored(dataset))
    found = np.flatnonzero(foreground)
    if len(found) > count:
        generator = np.random.default_rng(zlib.crc32(name_key(name).encode()))
        found = generator.choice(found, count, replace=False)
    return image.array.reshape(len(image.array), -1)[:, found].astype(np.float32)


def _summary(dataset: DataSet, total: _Accumulator) -> Fingerprint:
    samples = np.concatenate(total.samples, axis=1)  # (M, N)
    if not samples.size:
        raise empty_masks_error(dataset)
    gray = samples.mean(axis=0)
    # Three channels that differ by more than rounding, relative to the contrast.
    colour = float(np.abs(samples - gray).mean()) > COLOR_SHARE * float(gray.std())
    channels = tuple(
        _channel_summary(name, one, values)
        for name, one, values in zip(dataset.channel_names, total.channels, samples, strict=True)
    )
    names = {class_id: name for name, class_id in dataset.classes.items()}
    classes = tuple(_class_summary(names[i], one, total) for i, one in total.classes.items())
    spacing = np.median([case.spacing for case in total.cases], axis=0)
    spatial = spacing[1:] if dataset.axes == "tyx" else spacing
    return Fingerprint(
        version=FINGERPRINT_VERSION,
        axes=dataset.axes,
        cases=tuple(total.cases),
        channels=channels,
        colour=len(samples) == 3 and colour,
        classes=classes,
        anisotropy=_rounded(spatial.max() / spatial.min()),
        physical=total.physical,
        ranges=tuple(total.ranges),
        direction=direction_of(total.asymmetries),
    )


def _channel_summary(
    name: str, total: _ChannelAccumulator, values: NDArray[np.float32]
) -> ChannelFingerprint:
    low, high = np.percentile(values, [0.5, 99.5])
    return ChannelFingerprint(
        name=name,
        minimum=_rounded(total.minimum),
        maximum=_rounded(total.maximum),
        whole_numbers=total.whole_numbers,
        low=_rounded(low),
        high=_rounded(high),
        mean=_rounded(values.mean(dtype=np.float64)),
        deviation=_rounded(values.std(dtype=np.float64)),
    )


def _class_summary(name: str, one: _ClassAccumulator, total: _Accumulator) -> ClassFingerprint:
    return ClassFingerprint(
        name=name,
        cases=one.cases,
        frequency=_rounded(one.voxels / max(1, total.voxels)),
        volume_median=_rounded(np.median(one.volumes)) if one.volumes else 0.0,
        volume_smallest=_rounded(min(one.volumes)) if one.volumes else 0.0,
        width=_small_width(one.widths, np.median([case.spacing for case in total.cases], axis=0)),
        width_voxels=_small_width(one.widths_voxels, np.ones(len(total.cases[0].shape))),
    )


def _small_width(widths: list[NDArray[np.float64]], voxel: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the width of a small component; one `voxel` where all are specks, 0 where there is none."""
    if not widths:
        return (0.0,) * len(voxel)
    found = np.concatenate(widths)
    small = np.percentile(found, WIDTH_PERCENTILE, axis=0) if len(found) else voxel
    return tuple(_rounded(w) for w in small)


def _rounded(value: Any) -> float:
    """Return the value with six significant digits."""
    return float(f"{float(value):.6g}")
