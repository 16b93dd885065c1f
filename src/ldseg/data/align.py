"""Align a label map with its image: the same voxels in space, stored in another order.

Formats and programs differ in which corner comes first and which axis is slowest, some store only the part of
a label map that holds segments, and all of them round. Voxels are never resampled or moved here: a label map
off the image's voxels is refused. D axes; indices are (x, y[, z]) here, arrays (M, [z, ]y, x).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldseg.data.geometry import affine, largest_offset
from ldseg.data.volume import Volume
from ldseg.errors import FileError, file_error

ROUNDING = 0.1
"""Largest distance in voxels between corresponding corners that counts as rounding of the same grid, because
programs write affines with few digits."""
LARGEST_ROUNDING = 0.5
"""Beyond half a voxel the nearest voxel of the image is another one."""
_SILENT = 1e-3
"""Distance in voxels below which rounding by the format is not reported."""


@dataclass(frozen=True)
class _Placement:
    """The position and orientation of a label map's voxels in its image."""

    turn: NDArray[np.intp]
    """(D, D) signed permutation: index of the image = turn @ index of the label + shift."""
    shape: tuple[int, ...]
    """The label's grid in the image's order of axes, slowest first."""
    low: tuple[int, ...]
    """Index in the image of the label's first voxel, slowest first; may lie outside."""
    rounding: float
    """Distance in voxels between a corner of the label and the nearest whole shift of it."""
    apart: float
    """Distance in voxels between a corner of the label and the same corner of the image."""


@dataclass(frozen=True)
class _Files:
    """The files named in error messages."""

    own: Path
    target: Path
    role: str
    """Relation of the target to the file, e.g. "its image"."""


def align_label_to_image(
    label: Volume, image: Volume, file: Path, image_file: Path, tolerance: float = ROUNDING
) -> Volume:
    """Return `label` (1, *S) on the grid of `image`, by the geometry of the two; notes say what was done.

    `tolerance` is the rounding in voxels to accept. A label that covers another part of the world than its
    image, such as a mask cut to its segments, is 0 elsewhere. Raises InputError for `file` when the voxels of
    the two do not coincide, and when the label has foreground outside of its image.
    """
    placement = _placement(label, image)
    if placement is None or placement.shape == image.shape:
        return _aligned(label, image, placement, _Files(file, image_file, "its image"), tolerance)
    if placement.rounding > tolerance or _has_default_origin(label):
        raise _elsewhere(label, image, placement, _Files(file, image_file, "its image"))
    array = _placed(label, image, placement, file, image_file)
    return _on_grid(image, label, array, _notes(placement, image, "its image"))


def align_to_whole_grid(
    volume: Volume, target: Volume, file: Path, target_file: Path, role: str, tolerance: float = ROUNDING
) -> Volume:
    """Return `volume` (M, *S) on the grid of `target`, both of the same extent; see `align_label_to_image`.

    `role` is what messages call the target, e.g. "its first channel".
    """
    return _aligned(volume, target, _placement(volume, target), _Files(file, target_file, role), tolerance)


def _aligned(
    volume: Volume, target: Volume, placement: _Placement | None, files: _Files, tolerance: float
) -> Volume:
    """Return `volume` reoriented to `target`. Raises InputError if their voxels do not coincide."""
    if placement is None or placement.shape != target.shape or placement.apart > tolerance:
        raise _elsewhere(volume, target, placement, files)
    array = _turned(volume.array, placement.turn)
    return _on_grid(target, volume, array, _notes(placement, target, files.role))


def _on_grid(grid: Volume, volume: Volume, array: NDArray[np.generic], notes: list[str]) -> Volume:
    """Return `volume` on the grid of `grid`, with the voxels `array` and additional notes."""
    array = np.ascontiguousarray(array)
    return replace(grid, array=array, kind=volume.kind, stored=volume.stored, notes=(*volume.notes, *notes))


def _placement(label: Volume, image: Volume) -> _Placement | None:
    """Return the placement of `label` in `image`; None if their axes differ or are not parallel."""
    size = len(label.spacing)
    if label.axes != image.axes or len(image.spacing) != size:
        return None
    between = np.linalg.solve(affine(image), affine(label))
    matrix, offset = between[:size, :size], between[:size, size]
    turn = np.zeros((size, size), dtype=np.intp)
    nearest = np.abs(matrix).argmax(0)  # for each axis of the label, that of the image
    if len(set(nearest.tolist())) < size:
        return None
    turn[nearest, range(size)] = np.sign(matrix[nearest, range(size)])
    counts = np.array(label.shape[::-1])
    corners = np.array(list(product(*[(0, n - 1) for n in counts])))  # (2^D, D)
    exact = corners @ matrix.T + offset
    whole = corners @ turn.T
    whole = whole - whole.min(0)  # where the corners of the image would be
    shift = np.rint((exact - whole).mean(0)).astype(int)
    turned = np.abs(turn) @ counts
    return _Placement(
        turn,
        shape=tuple(turned[::-1].tolist()),
        low=tuple(shift[::-1].tolist()),
        rounding=float(np.abs(exact - whole - shift).max()),
        apart=float(np.abs(exact - whole).max()),
    )


def _turned(array: NDArray[np.generic], turn: NDArray[np.intp]) -> NDArray[np.generic]:
    """Return the array (M, *S) with its axes permuted and flipped to those of the image."""
    in_order = turn[::-1, ::-1]  # array axes are the index axes backwards
    axes = [int(axis) + 1 for axis in np.abs(in_order).argmax(1)]
    flips = tuple(n + 1 for n, row in enumerate(in_order) if row.sum() < 0)
    return np.flip(array.transpose([0, *axes]), flips)


def _placed(
    label: Volume, image: Volume, placement: _Placement, file: Path, image_file: Path
) -> NDArray[np.generic]:
    """Return the label's voxels inside the image, 0 elsewhere."""
    moved = _turned(label.array, placement.turn)
    target, source = [slice(None)], [slice(None)]
    for low, n, whole in zip(placement.low, placement.shape, image.shape, strict=True):
        target.append(slice(max(low, 0), max(min(low + n, whole), 0)))
        source.append(slice(target[-1].start - low, max(target[-1].stop - low, target[-1].start - low)))
    inner = moved[tuple(source)]
    outside = int(np.count_nonzero(moved) - np.count_nonzero(inner))
    if outside:
        finding = f"has {outside} labelled voxels outside of its image {image_file.name}"
        raise file_error(file, finding, "pair it with the image it was drawn on, or crop it to the image")
    placed = np.zeros((len(moved), *image.shape), moved.dtype)
    if inner.size:
        placed[tuple(target)] = inner
    return placed


def _has_default_origin(label: Volume) -> bool:
    """Return whether the origin is a default of writers that know none: the first voxel or the center."""
    middle = affine(label) @ [*((n - 1) / 2 for n in reversed(label.shape)), 1.0]
    return not np.any(label.origin) or bool(np.allclose(middle[:-1], 0.0, atol=1e-6))


def _notes(placement: _Placement, image: Volume, role: str) -> list[str]:
    """Return notes for the user about what was changed."""
    notes: list[str] = []
    if bool((placement.turn != np.eye(len(placement.turn))).any()):
        notes.append(f"is stored in another orientation than {role}; reoriented by its geometry")
    same = placement.shape == image.shape
    distance = placement.apart if same else placement.rounding
    if distance > _SILENT:
        notes.append(f"lies up to {distance:.2g} voxels away from {role}; taken for rounding")
    if not same:
        extent, whole = " x ".join(map(str, placement.shape)), " x ".join(map(str, image.shape))
        notes.append(f"covers {extent} of the {whole} voxels of {role} by its geometry; 0 elsewhere")
    return notes


def _elsewhere(volume: Volume, target: Volume, placement: _Placement | None, files: _Files) -> FileError:
    """Return the error for a volume whose voxels do not coincide with those of its target."""
    remedy = "resample it onto that grid (nearest neighbour for a mask), or correct the pair"
    named = f"{files.role} {files.target.name}"
    if placement is not None and placement.shape == target.shape:
        apart = placement.apart
    elif volume.shape == target.shape:
        apart = largest_offset(target, volume)
    else:
        finding = f"has shape {volume.shape} but {named} has {target.shape}"
        return file_error(files.own, finding, remedy)
    return file_error(
        files.own, f"lies up to {apart:.3g} voxels away from {named} (different affine)", remedy
    )
