"""Open a folder as a `DataSet`.

Without declared classes, the ids in the masks are the classes; without declared axes, those of
most images count, and the channels of the first of these.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ldseg.data.cases import Case, DataOptions, DataSet, cases_named
from ldseg.data.dimensions import representative_volume
from ldseg.data.file_names import Files, check_name, name_key
from ldseg.data.formats import ending, format_of, is_colour, read_volume, stem
from ldseg.data.inputs import find_inputs
from ldseg.data.layouts import DatasetIndex, Layout, case_folders, layout_named
from ldseg.data.loading import label_ids, load_case, load_image, load_input, load_labels
from ldseg.data.segment_names import LabelScan
from ldseg.data.sidecar_metadata import Description, parse_classes
from ldseg.data.sidecar_spacing import refuse_other_spacing, spacing_of_files, spacing_per_axis
from ldseg.data.unread import describe_unread
from ldseg.data.volume import Axes, Volume
from ldseg.errors import InputError, file_error

__all__ = [
    "Case",
    "DataOptions",
    "DataSet",
    "cases_named",
    "find_inputs",
    "label_ids",
    "load_case",
    "load_image",
    "load_input",
    "load_labels",
    "open_dataset",
]

_MOST_IDS = 64
_MOST_JPEG_IDS = 2


def open_dataset(root: Path, options: DataOptions | None = None) -> DataSet:
    """Return the cases of a folder and the properties they share.

    Masks are read only if no file declares the classes. A damaged file is accepted here, as long as others
    are readable: `check` and the loaders report it. Raises InputError for an image without mask, a mask
    without image, an empty or unknown folder. Images to predict need no masks: see `find_inputs`.
    """
    root = Path(root)
    options = options or DataOptions()
    layout = layout_named(options.layout, root)
    index = layout.read(root)
    spelling = {name_key(name): name for name in index.images}  # masks may use another Unicode spelling
    labels = {spelling.get(name_key(name), name): files for name, files in index.labels.items()}
    index = replace(index, labels=labels)
    _refuse_unpaired(root, index, layout)
    folder = root if root.is_dir() else root.parent
    description = index.description
    first = representative_volume(
        [index.images[name] for name in sorted(index.images)],
        options.axes or description.axes,
    )
    axes = first.axes
    cases = tuple(_case(name, folder, index, options, axes) for name in sorted(index.images))
    channels = description.channel_names or _channel_names(cases, first)
    ignore_id = options.ignore_id if options.ignore_id is not None else description.ignore_id
    named = declared_classes(root, options, description)
    classes, declared = _classes(root, cases, options, named, ignore_id, axes)
    mask_endings = [ending(path) for case in cases for path in case.labels]
    return DataSet(
        root=root,
        cases=cases,
        channel_names=channels,
        classes=classes,
        ignore_id=ignore_id,
        axes=axes,
        file_ending=Counter(mask_endings).most_common(1)[0][0],
        labels_above_zero=options.labels_above_zero,
        label_threshold=options.label_threshold,
        geometry_tolerance=options.geometry_tolerance,
        layout=layout.name,
        declared=declared,
        channel_files=any(
            name_key(stem(case.images[0])) == f"{name_key(case.name)}_0000" or len(case.images) > 1
            for case in cases
        ),
        remarks=_remarks(index),
    )


def _remarks(index: DatasetIndex) -> tuple[str, ...]:
    """Return remarks about skipped files and ambiguous names."""
    found = [*describe_unread(index.unread), *index.remarks]
    if index.unlabelled_fault is not None:
        found.append(f"images without masks are skipped: {index.unlabelled_fault}")
    folded: dict[str, list[str]] = defaultdict(list)
    for name in index.images:
        folded[name_key(name).casefold()].append(name)
    for names in folded.values():
        if len(names) > 1:
            found.append(
                f"{' and '.join(names)} differ in upper and lower case only, which some systems ignore"
            )
    return tuple(found)


def _refuse_unpaired(root: Path, index: DatasetIndex, layout: Layout) -> None:
    """Raise InputError if there are no images, or if an image or a mask has no partner."""
    if not index.images:
        other = "".join(f"; {remark}" for remark in describe_unread(index.unread))
        finding = f"has no images in the layout {layout.name} ({layout.looks_like}){other}"
        raise file_error(
            root, finding, "check the path, or name the layout (--data.layout of `ldseg train` and `check`)"
        )
    for own, partner, others in (("images", "mask", "labels"), ("labels", "image", "images")):
        files: Files = getattr(index, own)
        partners: Files = getattr(index, others)
        unpaired = [name for name in sorted(files) if name not in partners]
        if unpaired:
            count = f" ({len(unpaired)} in all)" if len(unpaired) > 1 else ""
            file = files[unpaired[0]][0]
            one_folder = layout is case_folders.LAYOUT
            name = unpaired[0]
            why = _unread_partner(name, file, index, one_folder) or _other_case_partner(name, partners)
            finding, remedy = why or ("", f"add the {partner} or remove it")
            raise file_error(file, f"has no {partner} of its name{count}{finding}", remedy)


def _unread_partner(name: str, file: Path, index: DatasetIndex, one_folder: bool) -> tuple[str, str] | None:
    """Return finding and remedy if the partner of `file` exists in a format that is not read, else None.

    With `one_folder` each case has a folder; otherwise all files of a case begin with its name.
    """
    key = name_key(name)
    for unread in index.unread:
        beside = unread.path.parent == file.parent
        starts = (f"{key}_",) if beside else (f"{key}_", f"{key}.")
        if beside if one_folder else name_key(unread.path.name).startswith(starts):
            return f": {unread.sentence()}", unread.remedy
    return None


def _other_case_partner(name: str, partners: Files) -> tuple[str, str] | None:
    """Return finding and remedy if a partner's name differs in letter case only, else None."""
    folded = name_key(name).casefold()
    for other, files in partners.items():
        if name_key(other).casefold() == folded:
            return f"; {files[0].name} has other upper and lower case letters", "rename one of the two"
    return None


def _case(name: str, folder: Path, index: DatasetIndex, options: DataOptions, axes: Axes) -> Case:
    """Return one case with its subject and spacing."""
    images = index.images[name]
    check_name(name, images[0])
    labels = index.labels.get(name, ())
    steps = options.spacing or index.spacings.get(name)
    if steps is None:
        steps = spacing_of_files(images, folder)
        refuse_other_spacing(images[0], steps, labels)
    subject = name_key(subject_by_pattern(name, images[0], options) or index.subjects.get(name, name))
    return Case(
        name=name,
        images=images,
        labels=labels,
        subject=name if subject == name_key(name) else subject,
        spacing=None if steps is None else spacing_per_axis(steps, axes, images[0]),
    )


def subject_by_pattern(name: str, file: Path, options: DataOptions) -> str | None:
    """Return the part of a case's name that matches `subject_pattern`; None without a pattern.

    Raises InputError for `file` if the name does not match.
    """
    if options.subject_pattern is None:
        return None
    match = re.search(options.subject_pattern, name)
    if match is None or not match[1]:
        finding = f"case {name} does not match data.subject_pattern {options.subject_pattern!r}"
        raise file_error(file, finding, "correct the pattern")
    return match[1]


def _channel_names(cases: tuple[Case, ...], first: Volume) -> tuple[str, ...]:
    """Return default channel names. One colour image makes a data set of 2D images a colour set."""
    raster = all(len(case.images) == 1 and not format_of(case.images[0]).has_geometry for case in cases)
    number = len(first.array)
    if raster and (number == 3 or (number == 1 and any(is_colour(case.images[0]) for case in cases))):
        return ("red", "green", "blue")
    return ("image",) if number == 1 else tuple(f"channel_{n}" for n in range(number))


def declared_classes(root: Path, options: DataOptions, description: Description) -> dict[str, int] | None:
    """Return the classes that the options or a file beside the data name, None if neither does.

    Raises InputError if both do.
    """
    if options.classes is None:
        return description.classes
    if description.classes is not None:
        finding = "its dataset.json or classes.json names the classes already"
        raise file_error(root, finding, "correct it there, and leave out --classes")
    return parse_classes(options.classes, "data.classes", "it")[0]


def _classes(
    root: Path,
    cases: tuple[Case, ...],
    options: DataOptions,
    declared: dict[str, int] | None,
    ignore_id: int | None,
    axes: Axes,
) -> tuple[dict[str, int], bool]:
    """Return the classes (declared, binary, or the ids in the masks), and whether a file names them."""
    if options.labels_above_zero or options.label_threshold is not None:
        names = [name for name, number in (declared or {}).items() if number not in (0, ignore_id)]
        return {"background": 0, names[0] if len(names) == 1 else "class_1": 1}, declared is not None
    if declared is not None:
        return {name: number for name, number in declared.items() if number != ignore_id}, True
    scan = _scan(cases, axes)
    return scan.classes(root, ignore_id), bool(scan.named)


def _scan(cases: Iterable[Case], axes: Axes) -> LabelScan:
    """Return the ids in all readable masks. Raises InputError if there are too many to be classes."""
    scan = LabelScan()
    paths = [path for case in cases for path in case.labels]
    first: InputError | None = None
    readable = 0
    for path in paths:
        try:
            scan.add(read_volume(path, "labels", axes))
        except InputError as problem:
            first = first or problem
            continue
        readable += 1
        jpeg = ending(path) in (".jpg", ".jpeg")
        found = len(scan.ids) + 1  # with the background
        if found > (_MOST_JPEG_IDS if jpeg else _MOST_IDS):
            option = "--data.label_threshold 127" if jpeg else "--data.labels_above_zero"
            remedy = f"correct the masks, or give {option} to `ldseg train`, `check` and `evaluate`"
            kind = "as lossy JPEG masks have" if jpeg else "more than classes: instances?"
            raise file_error(path, f"{found} different ids up to this mask, {kind}", remedy)
    if first is not None and readable == 0:
        raise first
    return scan
