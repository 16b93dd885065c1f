"""Ground truth of an evaluation: the masks of a data set of any layout, or a plain folder of label files.

Both become a `DataSet`; the cases of a plain folder have masks and no images.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ldseg.data.cases import Case, DataOptions, DataSet
from ldseg.data.dataset import declared_classes, open_dataset, subject_by_pattern
from ldseg.data.dimensions import representative_volume
from ldseg.data.file_names import by_stem, name_key, rater_groups, volumes_in
from ldseg.data.formats import ending, read_volume, stem
from ldseg.data.layouts import find_layout
from ldseg.data.loading import map_label_ids, read_image, read_label
from ldseg.data.segment_names import LabelScan, map_ids_by_name
from ldseg.data.sidecar_metadata import read_description
from ldseg.data.sidecar_spacing import spacing_of, spacing_per_axis
from ldseg.data.unread import describe_unread, unread_in
from ldseg.data.volume import Volume
from ldseg.errors import InputError, file_error
from ldseg.planning.plan import read_plan
from ldseg.runs.files import PLAN_FILE

_MOST_IDS = 64


def open_ground_truth(labels: Path, predictions: Path, options: DataOptions) -> DataSet:
    """Return the labelled cases at `labels`, with the classes to score.

    Classes are those of the dataset.json (in the folder of labels or the one above), else those of a
    plan.json beside the predictions, else the ids found in the masks and the predictions. Raises InputError
    when there are no masks, or what describes them is damaged.
    """
    labels = Path(labels)
    if not labels.exists():
        raise file_error(labels, "there is no such file or folder", "give the folder of reference masks")
    if options.layout is not None or labels.is_file() or find_layout(labels) is not None:
        found = open_dataset(labels, options)
        found = replace(found, cases=tuple(case for case in found.cases if case.labels))
    else:
        found = _plain_folder(labels, predictions, options)
    if not found.cases:
        raise file_error(labels, "has no masks", "give the folder of reference masks")
    binary = found.labels_above_zero or found.label_threshold is not None
    return found if found.declared or binary else replace(found, classes=_classes(found, predictions))


def read_ground_truth(ground_truth: DataSet, case: Case) -> tuple[Volume, ...]:
    """Return one mask (1, *S) per rater, with the geometry of the files and of the image where there is one.

    Raises InputError when one is unreadable or does not fit its image.
    """
    if case.images:
        image = read_image(ground_truth, case)
        return tuple(read_label(ground_truth, case, path, image) for path in case.labels)
    named = [
        map_ids_by_name(read_volume(path, "labels", ground_truth.axes), ground_truth, path)
        for path in case.labels
    ]
    return tuple(
        map_label_ids(mask, ground_truth, path) for mask, path in zip(named, case.labels, strict=True)
    )


def _plain_folder(labels: Path, predictions: Path, options: DataOptions) -> DataSet:
    """Return the data set of a folder that has masks and nothing else, such as labelsTs."""
    files, unread = volumes_in(labels), unread_in(labels)
    if not files:
        other = "".join(f" ({remark})" for remark in describe_unread(unread))
        raise file_error(labels, f"has no masks directly in it{other}", "give the folder of reference masks")
    beside = read_description(labels / "dataset.json")
    description = beside if beside.content else read_description(labels.parent / "dataset.json")
    named_classes = declared_classes(labels, options, description)
    axes = representative_volume([(path,) for path in files], options.axes or description.axes, "labels").axes
    binary = options.labels_above_zero or options.label_threshold is not None
    named = list(by_stem(volumes_in(predictions))) if predictions.is_dir() else []
    cases = [
        Case(
            name,
            (),
            paths,
            subject_by_pattern(name, paths[0], options) or name,
            None if steps is None else spacing_per_axis(steps, axes, paths[0]),
        )
        for name, paths in sorted(rater_groups(files, named).items())
        for steps in [options.spacing or spacing_of(paths[0])]
    ]
    return DataSet(
        root=labels,
        cases=tuple(cases),
        channel_names=(),
        classes={"background": 0, "class_1": 1} if binary else named_classes or {"background": 0},
        ignore_id=options.ignore_id if options.ignore_id is not None else description.ignore_id,
        axes=axes,
        file_ending=ending(files[0]),
        labels_above_zero=options.labels_above_zero,
        label_threshold=options.label_threshold,
        geometry_tolerance=options.geometry_tolerance,
        declared=named_classes is not None,
        remarks=describe_unread(unread),
    )


def _classes(ground_truth: DataSet, predictions: Path) -> dict[str, int]:
    """Return classes that no data set declares, from plan.json or from the ids found in the files.

    Unreadable files are left out here; scoring them reports the error.
    """
    plan = predictions / PLAN_FILE
    if plan.is_file():
        return read_plan(plan).classes
    names = {name_key(case.name) for case in ground_truth.cases}
    files = [path for case in ground_truth.cases for path in case.labels]
    files += [path for path in volumes_in(predictions) if name_key(stem(path)) in names]
    scan = LabelScan()
    for path in files:
        with suppress(InputError):
            scan.add(read_volume(path, "labels", ground_truth.axes))
        if len(scan.ids) >= _MOST_IDS:
            found = len(scan.ids) + 1  # with the background
            finding = f"{found} different ids up to this mask, more than classes: instances?"
            raise file_error(path, finding, "choose --data.labels_above_zero")
    return scan.classes(ground_truth.root, ground_truth.ignore_id)
