"""Read and write MetaImage (MHA, MHD) and NRRD with SimpleITK.

Spacing, origin and direction (LPS) are those of the file; they are written back as they were read, bit for
bit.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ldseg.data.formats import metaimage, nrrd, seg_nrrd
from ldseg.data.formats.format import Format
from ldseg.data.geometry import (
    Grid,
    axis_layout,
    require_orthogonal_axes,
    select_axes,
    to_channels_first,
    to_volume,
    volume_grid,
)
from ldseg.data.volume import Axes, Kind, Volume
from ldseg.errors import file_error, suppress_stderr, translate_errors

SEGMENTATION_ENDING = ".seg.nrrd"
"""Ending of 3D Slicer's label maps; an image `a.nrrd` has `a.seg.nrrd`."""


@dataclass(frozen=True)
class ItkHeader:
    """The header of an ITK file: its grid of 2 to 4 index axes, fastest first, and its segments."""

    size: tuple[int, ...]
    grid: Grid
    text: nrrd.NrrdGeometry | None = None
    """The same grid as text, for a NRRD file."""
    segments: tuple[tuple[int, str], ...] = ()
    """Ids and names of the segments of a label map, if the file has them."""


def read(path: Path, kind: Kind, axes: Axes | None) -> Volume:
    """See `Format.read`."""
    import SimpleITK as sitk  # imported here: few images are of these formats, and it takes long to load

    _check_name(path)
    is_nrrd = path.suffix.lower() == ".nrrd"
    with translate_errors(path, "NRRD" if is_nrrd else "MetaImage"):
        (nrrd if is_nrrd else metaimage).verify_integrity(path)
        physical = (nrrd if is_nrrd else metaimage).has_spacing(path)
        with suppress_stderr():
            image = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(image)  # ([[t, ]z, ]y, x[, c])
        text = nrrd.read_geometry(path) if is_nrrd else None
        segments = seg_nrrd.read_segments(path) if is_nrrd else ()
    if segments and kind == "image" and path.name.lower().endswith(SEGMENTATION_ENDING):
        raise file_error(path, "is a segmentation and not an image", "give its image")
    grid = Grid(image.GetSpacing(), image.GetOrigin(), image.GetDirection(), physical)
    require_orthogonal_axes(grid, image.GetSize(), path)
    # (i, j, k, t, c), with ones for what the file lacks
    dimensions = len(image.GetSize())
    array = array.transpose(*range(dimensions - 1, -1, -1), *range(dimensions, array.ndim))
    channels = array.shape[dimensions:] or (1,)
    array = array.reshape(array.shape[:dimensions] + (1,) * (4 - dimensions) + channels)
    layout = axis_layout(array.shape, axes, path)
    voxels, names = to_channels_first(array, layout), dict[int, str]()
    if segments and kind == "labels":
        voxels, names = seg_nrrd.merge_layers(voxels, segments, path)
    header = ItkHeader(image.GetSize(), grid, text, tuple(names.items()))
    return to_volume(voxels, _four_axes(grid), layout, header)


def write(path: Path, volume: Volume) -> None:
    """See `Format.write`."""
    import SimpleITK as sitk

    _check_name(path)
    array = volume.array if volume.kind == "labels" else volume.array.astype(np.float32)
    size, grid, text = _file_grid(volume)
    shape = (*reversed(size), len(array))
    voxels = np.ascontiguousarray(np.moveaxis(array, 0, -1)).reshape(shape)
    image = sitk.GetImageFromArray(voxels if len(array) > 1 else voxels[..., 0], isVector=len(array) > 1)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
        if path.suffix.lower() == ".nrrd" and text is not None:
            nrrd.write_geometry(path, text)
        written = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as problem:
        raise OSError(errno.EIO, "ITK could not write it whole") from problem
    if not np.array_equal(written, sitk.GetArrayViewFromImage(image), equal_nan=True):
        raise OSError(errno.EIO, "ITK could not write it whole")  # ITK does not detect a full disk


def _check_name(path: Path) -> None:
    """Raise InputError for a file name that ITK cannot handle or would misinterpret."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as problem:
        raise file_error(path, "its path is not in UTF-8, which ITK needs", "rename it") from problem
    if path.suffix.lower() == ".mhd" and {"%", "\n", "\r"} & set(path.name):
        finding = "its name has a character that an MHD cannot name its data file with"
        raise file_error(path, finding, "rename it, or choose .mha")


def _four_axes(grid: Grid) -> Grid:
    """Return the grid with unit steps along the index axes that the file lacks."""
    size = len(grid.spacing)
    direction = np.eye(4)
    direction[:size, :size] = np.asarray(grid.direction).reshape(size, size)
    rest = 4 - size
    return Grid(
        grid.spacing + (1.0,) * rest,
        grid.origin + (0.0,) * rest,
        tuple(float(v) for v in direction.ravel()),
        grid.physical,
    )


def _file_grid(volume: Volume) -> tuple[tuple[int, ...], Grid, nrrd.NrrdGeometry | None]:
    """Return size and grid of the file to write: those of the native header if it still fits the volume."""
    own = (tuple(reversed(volume.shape)), volume_grid(volume))
    if not isinstance(volume.native, ItkHeader):
        return *own, None
    native = volume.native
    size = native.size + (1,) * (4 - len(native.size))
    frames = (0, 1, 2) if size[2] > 1 else (0, 1, 3)
    indices = {"yx": (0, 1), "zyx": (0, 1, 2), "tyx": frames}[volume.axes]
    described = (tuple(size[n] for n in indices), select_axes(_four_axes(native.grid), indices))
    used = {n for n in range(len(native.size)) if size[n] > 1}
    if described == own and used <= set(indices):
        return native.size, native.grid, native.text
    return *own, None


META_IMAGE = Format("MetaImage", (".mha", ".mhd"), read, write, True, data_file=metaimage.data_file)
NRRD = Format("NRRD", (".nrrd", SEGMENTATION_ENDING), read, write, True, data_file=nrrd.data_file)
