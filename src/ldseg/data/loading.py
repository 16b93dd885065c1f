"""From cases to volumes: images with the wanted channels, masks with the set's ids on the image's grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ldseg.data.cases import Case, DataSet
from ldseg.data.faults import file_error, listed
from ldseg.data.formats import dicom, format_of, read_channels, read_volume
from ldseg.data.geometry import largest_offset
from ldseg.data.lattice import laid_on
from ldseg.data.volumes import Axes, Volume


def load_input(case: Case, channels: int, axes: Axes | None) -> Volume:
    """The case's image, float32 (M, *S) with M = `channels`.

    Pictures of a set are often part grey, part colour: a grey one gives three equal channels where colour is
    wanted, a colour one with equal channels gives one where grey is wanted. Raises InputError when it is
    unreadable, or has another number of channels or other axes.
    """
    path = case.images[0]
    volume = read_channels(case.images, axes)
    found = len(volume.array)
    if found != channels:
        is_picture = len(case.images) == 1 and format_of(path).is_colour is not None
        array = volume.array
        if is_picture and (found, channels) == (1, 3):
            volume = volume.with_array(np.repeat(array, 3, axis=0), "image")
        elif is_picture and (found, channels) == (3, 1) and bool((array == array[:1]).all()):
            volume = volume.with_array(array[:1], "image")
        else:
            finding = f"has {found} channels where {channels} are expected"
            raise file_error(path, finding, "convert it or remove it")
    volume = replace(volume, notes=(*case.notes, *volume.notes))
    return volume if case.spacing is None else replace(volume, spacing=case.spacing, physical=True)


def load_image(dataset: DataSet, case: Case) -> Volume:
    """The case's image, float32 (M, *S), as `load_input` with the set's channels and axes."""
    return load_input(case, len(dataset.channel_names), dataset.axes)


def load_labels(dataset: DataSet, case: Case) -> tuple[Volume, ...]:
    """One label map per rater, (1, *S), on the image's grid, with the set's ids.

    Raises InputError when a mask is unreadable, has another grid than the image, or an id that is not
    declared.
    """
    return load_case(dataset, case)[1] if case.labels else ()


def load_case(dataset: DataSet, case: Case) -> tuple[Volume, tuple[Volume, ...]]:
    """`load_image` and `load_labels`, reading the image once."""
    image = load_image(dataset, case)
    return image, tuple(load_label(dataset, case, path, image) for path in case.labels)


def load_label(dataset: DataSet, case: Case, path: Path, image: Volume) -> Volume:
    """One rater's label map on the grid of `image`, as `load_labels`."""
    label = read_volume(path, "labels", dataset.axes)
    placed = format_of(path).has_geometry and format_of(case.images[0]).has_geometry
    own = image
    if placed and case.spacing is not None:
        own = read_volume(case.images[0], "image", dataset.axes)
    if placed and dicom.DICOM in (format_of(path), format_of(case.images[0])):
        # Its order of axes is not that of other formats, and its segmentations may leave out empty slices.
        label = laid_on(label, own, fill=format_of(path) is dicom.DICOM)
    if label.shape != image.shape:
        finding = f"has shape {label.shape} but its image {case.images[0].name} has {image.shape}"
        raise file_error(
            path, finding, "resample the mask to the image (nearest neighbour) or correct the pair"
        )
    if placed:
        _compare_geometry(dataset, case, path, own, label)
    mapped = mapped_ids(label, dataset)
    legal = set(dataset.classes.values()) | ({dataset.ignore_id} if dataset.ignore_id is not None else set())
    strange = {number: count for number, count in label_ids(mapped).items() if number not in legal}
    if strange:
        found = listed([f"{number} ({count} voxels)" for number, count in strange.items()])
        declared = listed([f"{name}: {number}" for name, number in dataset.classes.items()], 10)
        remedy = (
            "declare them in dataset.json, or use --data.ignore_id, --data.labels_above_zero or a threshold"
        )
        raise file_error(path, f"has label ids outside the declared ones ({declared}): {found}", remedy)
    return replace(image, array=mapped.array, kind="labels", stored=label.stored, notes=label.notes)


def label_ids(label: Volume) -> dict[int, int]:
    """Ids and their voxel counts, ascending."""
    array = label.array
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:  # ten times as fast as sorting
        counted = np.bincount(array.ravel())
        return {int(number): int(counted[number]) for number in np.flatnonzero(counted)}
    ids, counts = np.unique(array, return_counts=True)
    return {int(number): int(count) for number, count in zip(ids, counts, strict=True)}


def mapped_ids(label: Volume, dataset: DataSet) -> Volume:
    """The mask after `label_threshold` or `labels_above_zero`; the ignore id stays."""
    array = label.array
    if dataset.label_threshold is not None:
        foreground = array > dataset.label_threshold
    elif dataset.labels_above_zero:
        foreground = array > 0
    else:
        return label
    if dataset.ignore_id is None:
        return label.with_array(foreground.astype(np.uint8), "labels")
    ignored = array == dataset.ignore_id
    kind = np.promote_types(np.uint8, np.min_scalar_type(dataset.ignore_id))
    return label.with_array(np.where(ignored, dataset.ignore_id, foreground).astype(kind), "labels")


def _compare_geometry(dataset: DataSet, case: Case, path: Path, image: Volume, label: Volume) -> None:
    """Refuse a mask that lies elsewhere than its image."""
    apart = largest_offset(image, label)
    if not apart <= dataset.geometry_tolerance:
        finding = (
            f"lies up to {apart:.3g} voxels away from its image {case.images[0].name} (different affine)"
        )
        remedy = (
            "give it the image's geometry, or raise --data.geometry_tolerance if only the header is wrong"
        )
        raise file_error(path, finding, remedy)
