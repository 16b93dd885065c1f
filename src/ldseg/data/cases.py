"""`Case`, `DataSet` and `DataOptions`: paths of files and how to read them. Nothing is loaded here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ldseg.data.align import LARGEST_ROUNDING, ROUNDING
from ldseg.data.file_names import name_key
from ldseg.data.sidecar_metadata import parse_classes
from ldseg.data.volume import Axes
from ldseg.errors import InputError, listed


@dataclass(frozen=True)
class Case:
    """The paths of an image and its label maps."""

    name: str
    """Unique in its set; the file name without ending and channel suffix."""
    images: tuple[Path, ...]
    """One file with all channels, or a file per channel in their order."""
    labels: tuple[Path, ...]
    """One file per rater; empty for an image that is only to be predicted."""
    subject: str
    """Cases of one subject are never in two parts of a split."""
    spacing: tuple[float, ...] | None = None
    """Voxel size in mm in the order of the set's axes, where it is not that of the file."""
    notes: tuple[str, ...] = ()
    """Assumptions made about its files, one sentence each, shown to the user."""


@dataclass(frozen=True)
class DataOptions:
    """Options for reading a data set; the defaults detect them from the files."""

    layout: str | None = None
    """Name of the layout (see `ldseg.data.layouts.LAYOUTS`); None recognizes it."""
    axes: Axes | None = None
    """Axes of every image: "yx", "zyx" or "tyx" (2D+time); None takes dataset.json's
    or those of the first image."""
    ignore_id: int | None = None
    """Label id of unlabelled voxels; they are excluded from loss and metrics."""
    classes: dict[str, int] | None = None
    """Names of the classes and their ids, e.g. liver=1,tumour=2, where no dataset.json has them; a
    classes.json beside the images says the same. Without either, they are named by their ids."""
    labels_above_zero: bool = False
    """Merge all ids above zero into one class (for instance masks)."""
    label_threshold: int | None = None
    """Values above it are class 1, others background; needed for masks saved as JPEG, e.g. 127."""
    subject_pattern: str | None = None
    """Regular expression with one group, searched in the case's name; the group is the subject."""
    spacing: tuple[float, ...] | None = None
    """Voxel size in mm in the order of the axes (frames or s for t), instead of what files say; each > 0."""
    geometry_tolerance: float = ROUNDING
    """Rounding to accept in the geometry of masks and channel files: voxels between the farthest corners of
    the two grids, > 0, at most 0.5."""

    def __post_init__(self) -> None:
        if self.classes is not None:
            _check_classes(self.classes)
        if self.ignore_id == 0:
            finding = "data.ignore_id is 0, the background, where what is marked by mistake has to count"
            raise InputError(f"{finding}; give unlabelled voxels an id of their own, e.g. 255")
        if self.subject_pattern is not None:
            _check_pattern(self.subject_pattern)
        if self.spacing is not None and not all(step > 0 for step in self.spacing):
            raise InputError(f"data.spacing is {self.spacing}; every step must be above 0 mm")
        if not 0 < self.geometry_tolerance <= LARGEST_ROUNDING:
            raise InputError(
                f"data.geometry_tolerance is {self.geometry_tolerance}; it is for rounding only, above 0 and "
                f"at most {LARGEST_ROUNDING} voxels: resample a mask that lies elsewhere onto its image"
            )
        if self.label_threshold is not None and self.labels_above_zero:
            raise InputError("data.label_threshold and data.labels_above_zero exclude each other; choose one")


@dataclass(frozen=True)
class DataSet:
    """A data set: its cases and the properties they share."""

    root: Path
    cases: tuple[Case, ...]
    """Ascending by name."""
    channel_names: tuple[str, ...]
    """One per image channel."""
    classes: dict[str, int]
    """Class name to id in the files: background first, ascending, without the ignore id."""
    ignore_id: int | None
    axes: Axes
    file_ending: str
    """Ending of the masks, e.g. ".nii.gz"."""
    labels_above_zero: bool
    label_threshold: int | None
    geometry_tolerance: float = ROUNDING
    """See `DataOptions`."""
    layout: str = ""
    """Name of the layout it was read as."""
    declared: bool = False
    """Whether the classes come from a file and not from the masks' ids."""
    channel_files: bool = False
    """Whether images are named as channels are, NAME_0000 ..., or are several files each."""
    remarks: tuple[str, ...] = ()
    """Skipped files and other things the user should know, one sentence each."""


def cases_named(cases: Iterable[Case], names: Sequence[str]) -> tuple[Case, ...]:
    """Return the cases with these names, in the order of `names`. Raises InputError for an unknown name."""
    by_name = {name_key(case.name): case for case in cases}
    missing = [name for name in names if name_key(name) not in by_name]
    if missing:
        raise InputError(
            f"the data set has no case {listed(missing)}; make the splits again for this data set"
        )
    return tuple(by_name[name_key(name)] for name in names)


def _check_classes(classes: dict[str, int]) -> None:
    """Raise InputError unless `classes` are named structures with ids of their own."""
    named, ignored = parse_classes(classes, "data.classes", "it")
    if ignored is not None:
        raise InputError("data.classes: ignore is no class; give --ignore-id instead")
    if len(named) < 2:
        raise InputError("data.classes: it names no structure; give one at least, e.g. liver=1")


def _check_pattern(pattern: str) -> None:
    """Raise InputError unless `pattern` is a regular expression with exactly one group."""
    try:
        groups = re.compile(pattern).groups
    except re.error as problem:
        raise InputError(
            f"data.subject_pattern {pattern!r} is not a regular expression ({problem})"
        ) from problem
    if groups != 1:
        example = r"(\d{3}) for a subject of three digits"
        raise InputError(f"data.subject_pattern {pattern!r} has {groups} groups; give one, e.g. {example}")
