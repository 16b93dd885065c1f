"""Check a whole data set: read every case and list every issue, with one case in memory at a time.

An issue is anything that prevents training; its text is the error that training would raise.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ldseg.data.cases import Case, DataSet
from ldseg.data.formats import ending, is_colour
from ldseg.data.loading import label_ids, read_image, read_label, with_own_spacing
from ldseg.data.ranges import ImageRange, image_range, mixed_scales
from ldseg.data.splits import make_splits
from ldseg.data.subject_hint import subject_hint
from ldseg.data.units import length_words
from ldseg.errors import FileError, InputError, file_error, listed

RGB_NAME = "rgb_to_0_1"
"""nnU-Net's name for a channel of an 8-bit colour image."""
_EIGHT_BIT = 255
_COLOURS = 3


@dataclass(frozen=True)
class CaseInfo:
    """Properties of one readable case."""

    name: str
    subject: str
    shape: tuple[int, ...]
    """Grid in voxels, in the order of the set's axes."""
    spacing: tuple[float, ...]
    """mm (frames or s for t), same order; see `physical`."""
    dtype: str
    """Number type of the image in its file."""
    raters: int
    """Readable masks."""
    ids: dict[int, int]
    """Label id to voxel count, summed over raters, after threshold and labels_above_zero."""
    physical: bool = True
    """False where nothing says how large a voxel is; `spacing` then is 1.0 along every axis of space."""


@dataclass(frozen=True)
class Issue:
    """A problem that must be fixed before training."""

    file: str
    finding: str
    remedy: str


@dataclass(frozen=True)
class DatasetReport:
    """The result of checking a data set; it can be trained on when there are no faults."""

    rows: tuple[CaseInfo, ...]
    faults: tuple[Issue, ...]
    hints: tuple[str, ...]
    """Remarks that the user should look at; they do not prevent training."""


@dataclass
class _Findings:
    """Findings collected while the cases are read."""

    rows: list[CaseInfo] = field(default_factory=list[CaseInfo])
    faults: list[Issue] = field(default_factory=list[Issue])
    constant: list[str] = field(default_factory=list[str])
    ranges: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """Least and largest intensity of each channel."""
    numbers: list[ImageRange] = field(default_factory=list[ImageRange])
    """One per readable image."""
    images: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """File name and a note of its reader."""
    masks: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def check(dataset: DataSet, on_case: Callable[[Case], None] | None = None) -> DatasetReport:
    """Read every case and return what was found. `on_case` is called after each. Never raises InputError."""
    notes = _Findings()
    for case in dataset.cases:
        _check_case(dataset, case, notes)
        if on_case is not None:
            on_case(case)
    faults = notes.faults or list(_untrainable(dataset, notes))
    return DatasetReport(tuple(notes.rows), tuple(faults), tuple(_hints(dataset, notes)))


def empty_masks_error(dataset: DataSet) -> InputError:
    """Return the error for a set whose masks are all empty."""
    remedy = "draw the structures, or correct --data.ignore_id where it is theirs"
    return file_error(dataset.root, "every mask is empty, so there is nothing to learn", remedy)


def refuse_beyond_eight_bit(channel: str, low: float, high: float) -> None:
    """Raise InputError where intensities from `low` to `high` are not what the channel's name promises."""
    if channel.casefold() == RGB_NAME and (low < 0 or high > _EIGHT_BIT):
        found = f"channel {channel} has intensities of {low:g} to {high:g}, and {RGB_NAME} is for 0 to 255"
        raise InputError(f"{found}; name it rescale_to_0_1 in channel_names, or save the images with 8 bits")


def _untrainable(dataset: DataSet, notes: _Findings) -> Iterator[Issue]:
    """Yield the issues that prevent training although every case is readable."""
    try:
        make_splits(dataset.cases)
    except InputError as problem:
        yield Issue(str(dataset.root), *_parts(problem))
    for channel, (low, high) in zip(dataset.channel_names, notes.ranges, strict=False):
        try:
            refuse_beyond_eight_bit(channel, low, high)
        except InputError as problem:
            yield Issue(str(dataset.root), *_parts(problem))
    yield from _unit_faults(notes)
    structures = set(dataset.classes.values()) - {0}
    if not any(structures & set(row.ids) for row in notes.rows):
        problem = empty_masks_error(dataset)
        yield Issue(str(dataset.root), *_parts(problem))


def _check_case(dataset: DataSet, case: Case, notes: _Findings) -> None:
    """Add the case's `CaseInfo`, or the issues that make it unreadable; reads every rater's mask."""
    try:
        image = read_image(dataset, case)
    except InputError as problem:
        notes.faults.append(_fault(case, problem))
        return
    notes.images += [(case.images[0].name, note) for note in image.notes]
    found = [(float(values.min()), float(values.max())) for values in image.array]
    known = notes.ranges or found
    notes.ranges = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(known, found, strict=True)]
    notes.numbers.append(image_range(case.name, image))
    if float(np.ptp(image.array)) == 0.0:
        notes.constant.append(case.name)
    ids: Counter[int] = Counter()
    readable = 0
    for path in case.labels:
        try:
            label = read_label(dataset, case, path, image)
            ids.update(label_ids(label))
            notes.masks += [(path.name, note) for note in label.notes]
            readable += 1
        except InputError as problem:
            notes.faults.append(_fault(case, problem))
    counts = dict(sorted(ids.items()))
    placed = with_own_spacing(case, image)
    notes.rows.append(
        CaseInfo(
            case.name,
            case.subject,
            image.shape,
            placed.spacing,
            image.stored,
            readable,
            counts,
            placed.physical,
        )
    )


def _fault(case: Case, problem: InputError) -> Issue:
    """Return the issue for an error raised while reading `case`."""
    file = problem.file if isinstance(problem, FileError) and problem.finding else str(case.images[0])
    return Issue(file, *_parts(problem))


def _parts(problem: InputError) -> tuple[str, str]:
    """Return finding and remedy of an error; the parts of its message where it has no such fields."""
    if isinstance(problem, FileError) and problem.finding:
        return problem.finding, problem.remedy
    finding, _, remedy = str(problem).partition("; ")
    return finding, remedy


def _hints(dataset: DataSet, notes: _Findings) -> list[str]:
    """Return remarks about the data set as a whole."""
    ids = {number for row in notes.rows for number, count in row.ids.items() if count}
    hints = [*dataset.remarks, *_id_hints(dataset, ids), *_case_hints(dataset, notes)]
    is_rgb = len(dataset.channel_names) == _COLOURS and is_colour(dataset.cases[0].images[0])
    hints += mixed_scales(notes.numbers, is_rgb)
    hints += [*group_notes("image", notes.images), *group_notes("mask", notes.masks)]
    if notes.rows and not any(row.physical for row in notes.rows):
        words = length_words(dataset.axes, physical=False)
        hints.append(
            f"the files have no physical spacing: distances and sizes are in {words} (add spacing.csv or "
            "--data.spacing for mm)"
        )
    return hints


def group_notes(kind: str, notes: Sequence[tuple[str, str]]) -> list[str]:
    """Return the readers' notes, grouped over files whose notes differ in numbers only."""
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for file, text in notes:
        groups[re.sub(r"\d+(\.\d+)?", "0", text.replace(file, ""))].append((file, text))
    return [
        f"{group[0][0]}: {group[0][1]}"
        if len(group) == 1
        else f"{len(group)} {kind}s, e.g. {group[0][0]}: {group[0][1]}"
        for group in groups.values()
    ]


def _unit_faults(notes: _Findings) -> Iterator[Issue]:
    """Yield the issue of a data set in which only some images have a physical spacing."""
    without = [row.name for row in notes.rows if not row.physical]
    if not without or len(without) == len(notes.rows):
        return
    example = next(row.name for row in notes.rows if row.physical)
    finding = (
        f"{len(without)} of {len(notes.rows)} images have no physical spacing ({listed(without)}), others "
        f"such as {example} have one, and mm and voxels cannot be averaged"
    )
    remedy = "list all images in spacing.csv, or give all of them one spacing with --data.spacing"
    yield Issue(without[0], finding, remedy)


def _id_hints(dataset: DataSet, ids: set[int]) -> list[str]:
    """Return remarks about label ids that are often misread."""
    hints: list[str] = []
    undeclared = dataset.ignore_id is None and not dataset.declared
    if undeclared and 255 in ids and len(ids - {0, 255}) >= 1:
        hints.append(
            "id 255 is read as a class; if it marks voxels that nobody labelled, use --data.ignore_id 255"
        )
    endings = {ending(path) for case in dataset.cases for path in case.labels}
    if endings & {".jpg", ".jpeg"} and dataset.label_threshold is None:
        hints.append(
            "masks are JPEG, which blurs ids; use --data.label_threshold 127 if they are black and white"
        )
    absent = [name for name, number in dataset.classes.items() if number not in ids]
    if absent and ids:
        hints.append(f"no mask has {', '.join(absent)}")
    return hints


def _case_hints(dataset: DataSet, notes: _Findings) -> list[str]:
    """Return remarks about unusual but valid cases and masks."""
    hints: list[str] = []
    if notes.constant:
        hints.append(f"{len(notes.constant)} images have one value only, e.g. {notes.constant[0]}")
    background = {0, dataset.ignore_id}
    empty = [row.name for row in notes.rows if row.raters and not set(row.ids) - background]
    if empty:
        hints.append(f"{len(empty)} cases have background only, e.g. {empty[0]}")
    subjects = {case.subject for case in dataset.cases}
    if len(subjects) < 5:
        hints.append(f"only {len(subjects)} subject(s): scores will say little about others")
    hints += _single_subjects(dataset, notes.rows)
    several = subject_hint(dataset.cases)
    return hints if several is None else [*hints, several]


def _single_subjects(dataset: DataSet, rows: Sequence[CaseInfo]) -> list[str]:
    """Return a remark about structures that one subject alone has: no split can both train and test them."""
    owners = {
        name: {row.subject for row in rows if row.ids.get(number)}
        for name, number in dataset.classes.items()
        if number != 0
    }
    single = [f"{name} ({next(iter(found))})" for name, found in owners.items() if len(found) == 1]
    if not single or len({row.subject for row in rows}) == 1:
        return []
    return [f"one subject alone has {listed(single, 5)}: it is learnt where that one trains, else scored"]
