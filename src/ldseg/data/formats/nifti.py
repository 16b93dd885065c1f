"""Read and write NIfTI-1 and NIfTI-2 with nibabel.

The file's (i, j, k, t, c) becomes (c, k, j, i) and its RAS affine LPS. The header is kept in
`Volume.native`: a label map written for it has the same affine, codes, pixdim and units, bit for bit.
"""

from __future__ import annotations

import gzip
import logging
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.analyze import AnalyzeHeader
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Header, Nifti2Image
from numpy.typing import NDArray

from ldseg.data.formats.decompress import read_to_end
from ldseg.data.formats.nifti_geometry import header_grid, refuse_misleading, remarks
from ldseg.data.geometry import (
    affine,
    axis_layout,
    require_orthogonal_axes,
    select_axes,
    to_channels_first,
    to_volume,
    volume_grid,
)
from ldseg.data.volume import Axes, Kind, Volume
from ldseg.errors import file_error, translate_errors
from ldseg.utils.system import require_memory

_HEADER_1, _HEADER_2 = 348, 540  # bytes
_FARTHEST = 2**24  # bytes of extensions before the voxels of a compressed file
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path, kind: Kind, axes: Axes | None) -> Volume:
    """See `Format.read`. NIfTI has no palettes, so `kind` is not used."""
    del kind
    with translate_errors(path, "NIfTI"):
        image, header = _open(path)
        array = np.asanyarray(image.dataobj)
    return to_placed_volume(array, header, path, axes)


def to_placed_volume(array: NDArray[Any], header: Nifti1Header, path: Path, axes: Axes | None) -> Volume:
    """Return the voxels (i, j[, k, t, c]) of a file as a volume with the geometry of its header."""
    if array.dtype.names is not None:  # RGB
        colours = np.stack([array[name] for name in array.dtype.names], axis=-1)
        array = colours.reshape(array.shape + (1,) * (4 - array.ndim) + colours.shape[-1:])
    shape = array.shape + (1,) * (5 - array.ndim)
    if array.ndim < 2 or any(n > 1 for n in shape[5:]):
        raise file_error(path, f"has shape {array.shape}", "save an image of two to five axes")
    array = array.reshape(shape[:5])  # (i, j, k, t, c)
    layout = axis_layout(array.shape, axes, path)
    with translate_errors(path, "NIfTI"):
        refuse_misleading(header, path)
        grid, notes = header_grid(header), remarks(header, layout.axes)
    require_orthogonal_axes(grid, array.shape[:3], path)
    if not all(np.isfinite(grid.spacing + grid.origin)):
        raise file_error(path, "has a time that is not finite", "write its geometry again")
    return replace(to_volume(to_channels_first(array, layout), grid, layout, header), notes=notes)


def write(path: Path, volume: Volume) -> None:
    """See `Format.write`."""
    array = volume.array if volume.kind == "labels" else volume.array.astype(np.float32)
    header = _native_header(volume)
    if header is None:
        shape = _file_shape(volume.axes, frames_last=True, flat=True, shape=volume.shape, channels=len(array))
        header = _new_header(volume)
    else:
        ndim = len(header.get_data_shape())
        frames_last = volume.axes == "tyx" and _native_indices(header) == (0, 1, 3)
        shape = _file_shape(volume.axes, frames_last, flat=ndim == 2, shape=volume.shape, channels=len(array))
    data = np.ascontiguousarray(array.transpose(*range(array.ndim - 1, 0, -1), 0)).reshape(shape)
    header.set_data_dtype(data.dtype)
    steps = header["pixdim"].copy()
    header.set_data_shape(data.shape)
    header["pixdim"] = steps  # nibabel resets those of axes that the label map lacks
    header.set_slope_inter(1, 0)
    header.set_intent("none")
    header["cal_min"] = header["cal_max"] = 0  # the image's display window means nothing for labels
    make = Nifti2Image if isinstance(header, Nifti2Header) else Nifti1Image
    image = make(data, None, header)  # without an affine nibabel leaves the header's own untouched
    image.header["pixdim"] = steps  # but repairs sizes of 0
    nib.save(image, path)


def _open(path: Path) -> tuple[Nifti1Image, Nifti1Header]:
    """Return the image, read up to the size its header declares, and the header with unmodified pixdim."""
    packed = path.suffix.lower() == ".gz"
    with gzip.GzipFile(path) if packed else path.open("rb") as file:
        content = file.read(_HEADER_2)
        sizes = {int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big")}
        if _HEADER_1 not in sizes and _HEADER_2 not in sizes:
            raise ValueError("it has no NIfTI header")
        make = Nifti2Image if _HEADER_2 in sizes else Nifti1Image
        block = content[: max(sizes & {_HEADER_1, _HEADER_2})]
        expected = promised_bytes(make.header_class(block), path)
        content += file.read(max(0, expected - len(content)))
        if packed:
            read_to_end(file, expected)
    image = make.from_bytes(content)
    header = image.header.copy()
    header["pixdim"] = make.header_class(block, check=False)["pixdim"]  # nibabel repairs sizes of 0
    return image, header


def promised_bytes(header: AnalyzeHeader, path: Path) -> int:
    """Return the size of the whole file in bytes. Raises InputError if memory does not suffice."""
    shape, each = header.get_data_shape(), header.get_data_dtype().itemsize
    if min(shape, default=0) < 0:
        raise ValueError(f"its shape is {shape}")
    voxels, start = prod(map(int, shape)), int(header.get_data_offset())
    scaled = 8 if header.get_slope_inter() not in ((1.0, 0.0), (None, None)) else 0
    require_memory(path, voxels, 2 * each + scaled)
    if start > max(_FARTHEST, path.stat().st_size):
        raise ValueError(f"its voxels begin at {start}")
    return start + voxels * each


def _native_indices(header: Nifti1Header) -> tuple[int, ...]:
    """Return the index axes of a 2D+time file, whose frames are slices (k) or times (t)."""
    shape = header.get_data_shape()
    return (0, 1, 2) if len(shape) > 2 and shape[2] > 1 else (0, 1, 3)


def _native_header(volume: Volume) -> Nifti1Header | None:
    """Return a copy of the volume's native header if it still describes the volume's grid, else None."""
    if not isinstance(volume.native, Nifti1Header):
        return None
    indices = {"yx": (0, 1), "zyx": (0, 1, 2), "tyx": _native_indices(volume.native)}[volume.axes]
    shape = (*volume.native.get_data_shape(), 1, 1, 1)
    same_shape = tuple(int(shape[n]) for n in reversed(indices)) == volume.shape
    if not same_shape or select_axes(header_grid(volume.native), indices) != volume_grid(volume):
        return None
    return volume.native.copy()


def _new_header(volume: Volume) -> Nifti1Header:
    """Return a header with the volume's geometry in mm and seconds, without unit if it is not physical."""
    header = Nifti1Header()
    matrix = np.eye(4)
    place = affine(volume)
    size = 2 if volume.axes in ("yx", "tyx") else 3
    matrix[:size, :size] = place[:size, :size]
    matrix[:size, 3] = place[:size, -1]
    ras = _RAS_TO_LPS @ matrix
    header.set_data_shape((1, 1, 1, 1))
    header.set_sform(ras, code="scanner")
    header.set_qform(ras, code="scanner", strip_shears=True)
    header.set_xyzt_units("mm" if volume.physical else "unknown", "sec")
    if volume.axes == "tyx":
        header["pixdim"][4] = volume.spacing[0]
        header["toffset"] = volume.origin[2]
    return header


def _file_shape(
    axes: Axes, frames_last: bool, flat: bool, shape: tuple[int, ...], channels: int
) -> tuple[int, ...]:
    """Return the file's shape, fastest axis first, for a grid `shape` (slowest first) and channels."""
    grid = tuple(reversed(shape))
    if axes == "yx":
        if channels > 1:
            return (*grid, 1, channels)
        return grid if flat else (*grid, 1)
    if axes == "zyx":
        return grid if channels == 1 else (*grid, channels)
    whole = (*grid[:2], 1, grid[2]) if frames_last else (*grid, 1)
    if channels > 1:
        return (*whole, channels)
    return whole if frames_last else grid


# A damaged file is reported in one line; nibabel would log its own lines before that.
logging.getLogger("nibabel.global").addFilter(lambda record: record.levelno > logging.CRITICAL)
