"""Read and write FreeSurfer's MGH and MGZ with nibabel.

A file has a big-endian header of 284 bytes, voxels (i, j, k, frame) and an optional footer. The
header is kept in `Volume.native`: a label map written for it has the same geometry, bit for bit.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader, MGHImage
from numpy.typing import NDArray

from ldseg.data.formats.decompress import read_to_end
from ldseg.data.geometry import (
    Grid,
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

_HEADER = 284  # bytes
_FLAG = slice(28, 30)  # whether the geometry is known
_FOOTER = 2**20  # bytes read after the voxels
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TYPES = ("uint8", "int16", "int32", "float32")


def read(path: Path, kind: Kind, axes: Axes | None) -> Volume:
    """See `Format.read`."""
    del kind
    with translate_errors(path, "MGH"):
        image, header = _open(path)
        array = np.asanyarray(image.dataobj)  # (i, j, k[, frame])
    array = array.reshape((*(*array.shape, 1, 1)[:4], 1))
    layout = axis_layout(array.shape, axes, path)
    with translate_errors(path, "MGH"):
        grid = _grid(header)
    if not all(np.isfinite(grid.spacing + grid.origin)) or min(grid.spacing) <= 0:
        raise file_error(path, "has an affine that is singular or not finite", "write its geometry again")
    require_orthogonal_axes(grid, array.shape[:3], path)
    notes = () if grid.physical else ("says that its geometry is not known: lengths are in voxels",)
    return replace(to_volume(to_channels_first(array, layout), grid, layout, header), notes=notes)


def write(path: Path, volume: Volume) -> None:
    """See `Format.write`."""
    array: NDArray[Any] = volume.array if volume.kind == "labels" else volume.array.astype(np.float32)
    if array.dtype.name not in _TYPES:
        array = array.astype(np.int32)
    if volume.axes == "tyx" and len(array) > 1:
        raise file_error(path, "MGH cannot hold frames of several channels", "write .nii.gz")
    data = array.transpose(*range(array.ndim - 1, 0, -1), 0)  # (i, j[, k or frame], c)
    header = _native_header(volume)
    if volume.axes == "yx":
        data = data[:, :, None]
    elif volume.axes == "tyx" and (header is None or _shape(header)[2] == 1):
        data = data.transpose(0, 1, 3, 2)
    if data.shape[3] == 1:
        data = data[..., 0]
    place = _ras_affine(volume) if header is None else None  # None keeps the header's own affine
    image = MGHImage(cast(Any, np.ascontiguousarray(data)), place, header)
    image.header.set_data_dtype(data.dtype)
    if header is not None:
        image.header["goodRASFlag"] = header["goodRASFlag"]
    nib.save(image, path)


def _open(path: Path) -> tuple[MGHImage, MGHHeader]:
    """Return the image, read up to the size its header declares, and the header with its geometry flag."""
    packed = path.suffix.lower() in (".mgz", ".gz")
    with gzip.GzipFile(path) if packed else path.open("rb") as file:
        content = file.read(_HEADER)
        if len(content) < _HEADER or content[:4] != b"\0\0\0\1":
            raise ValueError("it has no MGH header")
        header = MGHHeader(content, check=False)
        shape, each = _shape(header), np.dtype(cast(Any, header.get_data_dtype())).itemsize
        if min(shape) <= 0:
            raise ValueError(f"its shape is {shape}")
        require_memory(path, prod(shape), 2 * each)
        expected = _HEADER + prod(shape) * each
        content += file.read(expected - _HEADER + _FOOTER)
        if len(content) < expected:
            raise ValueError(f"{len(content)} of {expected} bytes are there")
        if packed:
            read_to_end(file, expected)
    image = MGHImage.from_bytes(content)
    own = image.header.copy()
    own["goodRASFlag"] = int.from_bytes(content[_FLAG], "big", signed=True)  # nibabel calls its default known
    return image, own


def _shape(header: MGHHeader) -> tuple[int, ...]:
    """Return the number of voxels along i, j, k, and of frames."""
    return tuple(int(n) for n in header["dims"])


def _grid(header: MGHHeader) -> Grid:
    """Return the grid of the four index axes i, j, k, frame in LPS mm and seconds."""
    lps = _RAS_TO_LPS @ np.asarray(header.get_affine(), dtype=np.float64)
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    direction = np.eye(4)
    with np.errstate(invalid="ignore", divide="ignore"):
        direction[:3, :3] = lps[:3, :3] / steps
    known = int(header["goodRASFlag"]) == 1
    frame = float(header["tr"]) / 1000
    return Grid(
        (*(steps.tolist() if known else (1.0, 1.0, 1.0)), frame if frame > 0 else 1.0),
        (*lps[:3, 3].tolist(), 0.0),
        tuple(direction.ravel().tolist()),
        known,
    )


def _native_header(volume: Volume) -> MGHHeader | None:
    """Return a copy of the volume's native header if it still describes the volume's grid, else None."""
    if not isinstance(volume.native, MGHHeader):
        return None
    shape = _shape(volume.native)
    frames = (0, 1, 2) if shape[2] > 1 else (0, 1, 3)
    indices = {"yx": (0, 1), "zyx": (0, 1, 2), "tyx": frames}[volume.axes]
    same_shape = tuple(shape[n] for n in reversed(indices)) == volume.shape
    if not same_shape or select_axes(_grid(volume.native), indices) != volume_grid(volume):
        return None
    return volume.native.copy()


def _ras_affine(volume: Volume) -> NDArray[np.float64]:
    """Return the (4, 4) affine from index (i, j, k) to RAS."""
    matrix, place = np.eye(4), affine(volume)
    size = 3 if volume.axes == "zyx" else 2
    matrix[:size, :size] = place[:size, :size]
    matrix[:size, 3] = place[:size, -1]
    return _RAS_TO_LPS @ matrix
