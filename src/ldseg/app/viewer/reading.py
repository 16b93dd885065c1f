"""Images and their reference masks as the viewer reads them, on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldseg.data.cases import Case, DataSet
from ldseg.data.class_indices import class_indices
from ldseg.data.file_names import Files, find_path, name_key, rater_groups, volumes_in
from ldseg.data.layouts import find_layout
from ldseg.data.loading import load_case
from ldseg.data.volume import Volume
from ldseg.errors import file_error, listed
from ldseg.planning.plan import Plan


def dataset_of(plan: Plan, root: Path) -> DataSet:
    """Return a data set at `root` whose images and masks are read as those of the training; it has no
    cases."""
    return DataSet(
        root,
        (),
        tuple(channel.name for channel in plan.channels),
        plan.classes,
        plan.ignore_id,
        plan.axes,
        plan.file_ending,
        plan.labels_above_zero,
        label_threshold=None,
    )


def with_references(cases: Sequence[Case], path: Path) -> list[Case]:
    """Return the cases with the masks of their names at `path`: a mask for a single case, a folder of masks,
    or a data set of any layout. Cases without a mask stay as they are.

    Raises:
        InputError: there is no such place, or it has masks of no case.
    """
    path = find_path(Path(path))
    if not path.exists():
        raise file_error(path, "there is no such file or folder", "give the reference masks, or their folder")
    masks = {name_key(name): files for name, files in _masks(path, cases).items()}
    found = [replace(case, labels=masks.get(name_key(case.name), ())) for case in cases]
    if not any(case.labels for case in found):
        finding = f"has no mask of {listed([case.name for case in cases])}"
        raise file_error(path, finding, "give the folder in which masks have the names of the images")
    return found


def read_case(case: Case, plan: Plan) -> tuple[Volume, tuple[NDArray[np.int16], ...]]:
    """Return the image and the class indices (*S) of each mask on its grid, -1 where nobody labelled.

    Raises:
        InputError: a file is damaged, does not fit the plan, or a mask lies off the image's voxels.
    """
    image, masks = load_case(dataset_of(plan, case.images[0].parent), case)
    return image, tuple(class_indices(mask.array[0], plan.classes, plan.ignore_id) for mask in masks)


def _masks(path: Path, cases: Sequence[Case]) -> Files:
    """Return the masks of each case's name at `path`."""
    layout = find_layout(path)
    if layout is not None:
        return dict(layout.read(path).labels)
    if path.is_dir():
        return rater_groups(volumes_in(path), [case.name for case in cases])
    if len(cases) > 1:
        raise file_error(path, f"is one mask for {len(cases)} images", "give the folder of their masks")
    return {cases[0].name: (path,)}
