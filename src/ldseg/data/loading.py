"""Load cases as volumes: images with the expected channels, masks with the data set's ids on their grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.align import ROUNDING, align_label_to_image
from ldseg.data.cases import Case, DataSet
from ldseg.data.formats import format_of, read_channels, read_volume
from ldseg.data.formats.dtypes import ids_in
from ldseg.data.segment_names import map_ids_by_name
from ldseg.data.volume import Axes, Volume
from ldseg.errors import FileError, file_error, listed


def load_input(case: Case, channels: int, axes: Axes | None, geometry_tolerance: float = ROUNDING) -> Volume:
    """Return the case's image, float32 (M, *S) with M = `channels`, and its own spacing if the case has one.

    2D data sets often mix gray and colour images: a gray one gives three equal channels where colour is
    wanted, a colour one with equal channels gives one where gray is wanted. Raises InputError when it is
    unreadable, or has another number of channels or other axes.
    """
    return with_own_spacing(case, _read_input(case, channels, axes, geometry_tolerance))


def with_own_spacing(case: Case, volume: Volume) -> Volume:
    """Return `volume` with the spacing of the case, if the case overrides that of the file."""
    return volume if case.spacing is None else volume.with_spacing(case.spacing)


def load_image(dataset: DataSet, case: Case) -> Volume:
    """Return the case's image, float32 (M, *S), like `load_input` with the data set's channels and axes."""
    return with_own_spacing(case, read_image(dataset, case))


def load_labels(dataset: DataSet, case: Case) -> tuple[Volume, ...]:
    """Return one label map per rater, (1, *S), on the image's grid, with the data set's ids.

    Raises InputError when a mask is unreadable, does not lie on the voxels of its image, or has an id that is
    not declared.
    """
    return load_case(dataset, case)[1] if case.labels else ()


def load_case(dataset: DataSet, case: Case) -> tuple[Volume, tuple[Volume, ...]]:
    """Return what `load_image` and `load_labels` return, reading the image once."""
    image = read_image(dataset, case)
    labels = tuple(read_label(dataset, case, path, image) for path in case.labels)
    return with_own_spacing(case, image), tuple(with_own_spacing(case, label) for label in labels)


def read_image(dataset: DataSet, case: Case) -> Volume:
    """Return the case's image like `load_image`, but with the geometry of its file."""
    return _read_input(case, len(dataset.channel_names), dataset.axes, dataset.geometry_tolerance)


def read_label(dataset: DataSet, case: Case, path: Path, image: Volume) -> Volume:
    """Return one rater's label map on the grid of `image`, which keeps its file's geometry (`read_image`)."""
    label = map_ids_by_name(read_volume(path, "labels", dataset.axes), dataset, path)
    source = case.images[0]
    if format_of(path).has_geometry and format_of(source).has_geometry:
        label = align_label_to_image(label, image, path, source, dataset.geometry_tolerance)
    elif label.shape != image.shape:
        raise _other_shape(path, label, source, image)
    mapped = map_label_ids(label, dataset, path)
    legal = set(dataset.classes.values()) | ({dataset.ignore_id} if dataset.ignore_id is not None else set())
    strange = {number: count for number, count in label_ids(mapped).items() if number not in legal}
    if strange:
        found = listed([f"{number} ({count} voxels)" for number, count in strange.items()])
        declared = listed([f"{name}: {number}" for name, number in dataset.classes.items()], 10)
        remedy = (
            "correct the mask, declare the ids in dataset.json, or read them otherwise by --data.ignore_id, "
            "--data.labels_above_zero or --data.label_threshold (of `ldseg train`, `check` and `evaluate`)"
        )
        raise file_error(path, f"has label ids outside the declared ones ({declared}): {found}", remedy)
    return replace(image, array=mapped.array, kind="labels", stored=label.stored, notes=label.notes)


def _other_shape(path: Path, label: Volume, source: Path, image: Volume) -> FileError:
    """Return the error for a mask whose shape differs from that of its image."""
    finding = f"has shape {label.shape} but its image {source.name} has {image.shape}"
    remedy = "resample the mask to the image (nearest neighbour) or correct the pair"
    if label.shape == (*image.shape[:-2], *image.shape[:-3:-1]):
        notes = "; ".join((*image.notes, *label.notes))
        finding += f", on its side ({notes})" if notes else ", on its side"
        remedy = "turn the mask as viewers display the image"
        remedy += ", or remove its Orientation tag" if image.notes else ""
    return file_error(path, finding, remedy)


def _read_input(case: Case, channels: int, axes: Axes | None, geometry_tolerance: float) -> Volume:
    """Return the image like `load_input`, but with the geometry of its file."""
    path = case.images[0]
    volume = read_channels(case.images, axes, geometry_tolerance)
    volume = replace(volume, notes=(*case.notes, *volume.notes))
    is_raster = len(case.images) == 1 and format_of(path).is_colour is not None
    fitting = with_channels(volume, channels) if is_raster else volume
    if len(fitting.array) != channels:
        finding = f"has {len(volume.array)} channels where {channels} are expected"
        remedy = "convert it or remove it"
        if len(volume.array) == 1:
            remedy = "name its channel files NAME_0000, NAME_0001 ... or list image, image2 ... in a CSV"
        raise file_error(path, finding, remedy)
    return fitting


def with_channels(image: Volume, channels: int) -> Volume:
    """Return a gray image as three equal channels where colour is wanted, and a colour image whose channels
    are equal as one where gray is wanted; any other image as it is."""
    found, array = len(image.array), image.array
    if (found, channels) == (1, 3):
        return image.with_array(np.repeat(array, 3, axis=0), "image")
    if (found, channels) == (3, 1) and bool((array == array[:1]).all()):
        return image.with_array(array[:1], "image")
    return image


def label_ids(label: Volume) -> dict[int, int]:
    """Return the ids of a label map and their voxel counts, ascending."""
    return ids_in(label.array)


def map_label_ids(label: Volume, dataset: DataSet, path: Path) -> Volume:
    """Return the mask after applying `label_threshold` or `labels_above_zero`; the ignore id stays.

    Raises InputError for `path` with a negative id that is not the ignore id: it is no class, and no
    background either.
    """
    array = label.array
    if dataset.label_threshold is not None:
        foreground = array > dataset.label_threshold
    else:
        _refuse_negative(array, dataset.ignore_id, path)
        if not dataset.labels_above_zero:
            return label
        foreground = array > 0
    if dataset.ignore_id is None:
        return label.with_array(foreground.astype(np.uint8), "labels")
    ignored = array == dataset.ignore_id
    kind = np.promote_types(np.uint8, np.min_scalar_type(dataset.ignore_id))
    return label.with_array(np.where(ignored, dataset.ignore_id, foreground).astype(kind), "labels")


def _refuse_negative(array: NDArray[Any], ignore_id: int | None, path: Path) -> None:
    """Raise InputError for negative ids other than the ignore id."""
    if array.dtype.kind == "u":
        return
    negative = array[(array < 0) & (array != ignore_id)] if ignore_id is not None else array[array < 0]
    if negative.size:
        found = np.unique(negative).tolist()
        finding = f"has negative label ids: {listed(found)} ({negative.size} voxels)"
        remedy = (
            f"give them ids above 0, or --ignore-id {found[0]} to `ldseg train`, `check` and `evaluate` if "
            "nobody labelled these voxels"
        )
        if len(found) > 1 or ignore_id is not None:
            remedy = "save one ignore id for all voxels that nobody labelled, and give the others ids from 0"
        raise file_error(path, finding, remedy)
