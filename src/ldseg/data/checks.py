"""Check a whole data set: every case is read, every fault is listed, one case is in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ldseg.data.cases import Case, DataSet
from ldseg.data.faults import FileError
from ldseg.data.formats import ending, format_of
from ldseg.data.loading import label_ids, load_image, load_label
from ldseg.errors import InputError


@dataclass(frozen=True)
class Row:
    """What one readable case is."""

    name: str
    subject: str
    shape: tuple[int, ...]
    """Grid in voxels, in the order of the set's axes."""
    spacing: tuple[float, ...]
    """mm (frames or s for t), same order."""
    dtype: str
    """Number type of the image in its file."""
    raters: int
    """Readable masks."""
    ids: dict[int, int]
    """Label id to voxel count, summed over raters, after threshold and labels_above_zero."""


@dataclass(frozen=True)
class Fault:
    """Something to repair."""

    file: str
    finding: str
    remedy: str


@dataclass(frozen=True)
class Report:
    """All rows, faults and hints of a data set; it can be trained on when there are no faults."""

    rows: tuple[Row, ...]
    faults: tuple[Fault, ...]
    hints: tuple[str, ...]
    """Remarks that need no repair but a look."""


@dataclass
class _Notes:
    """What is collected on the way."""

    rows: list[Row] = field(default_factory=list[Row])
    faults: list[Fault] = field(default_factory=list[Fault])
    constant: list[str] = field(default_factory=list[str])


def check(dataset: DataSet, on_case: Callable[[Case], None] | None = None) -> Report:
    """Read every case. `on_case` is called after each, for a progress bar. Never raises InputError."""
    notes = _Notes()
    for case in dataset.cases:
        _check_case(dataset, case, notes)
        if on_case is not None:
            on_case(case)
    return Report(tuple(notes.rows), tuple(notes.faults), tuple(_hints(dataset, notes)))


def _check_case(dataset: DataSet, case: Case, notes: _Notes) -> None:
    """One row, or the faults why there is none; all raters are looked at."""
    try:
        image = load_image(dataset, case)
    except InputError as problem:
        notes.faults.append(_fault(case, problem))
        return
    if float(np.ptp(image.array)) == 0.0:
        notes.constant.append(case.name)
    ids: Counter[int] = Counter()
    readable = 0
    for path in case.labels:
        try:
            ids.update(label_ids(load_label(dataset, case, path, image)))
            readable += 1
        except InputError as problem:
            notes.faults.append(_fault(case, problem))
    counts = dict(sorted(ids.items()))
    notes.rows.append(
        Row(case.name, case.subject, image.shape, image.spacing, image.stored, readable, counts)
    )


def _fault(case: Case, problem: InputError) -> Fault:
    """The error's parts; the whole message where it has none."""
    if isinstance(problem, FileError) and problem.finding:
        return Fault(problem.file, problem.finding, problem.remedy)
    return Fault(str(case.images[0]), str(problem), "")


def _hints(dataset: DataSet, notes: _Notes) -> list[str]:
    """Remarks about the set as a whole."""
    ids = {number for row in notes.rows for number, count in row.ids.items() if count}
    hints = [*_id_hints(dataset, ids), *_case_hints(dataset, notes)]
    no_steps = all(set(row.spacing) == {1.0} for row in notes.rows)
    if notes.rows and no_steps and not format_of(dataset.cases[0].images[0]).has_geometry:
        hints.append(
            "the files have no spacing: distances are in pixels (add spacing.csv or --data.spacing for mm)"
        )
    return hints


def _id_hints(dataset: DataSet, ids: set[int]) -> list[str]:
    """Ids that are often meant otherwise."""
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


def _case_hints(dataset: DataSet, notes: _Notes) -> list[str]:
    """Cases and masks that are odd but legal."""
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
    return hints
