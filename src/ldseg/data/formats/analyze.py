"""Read Analyze 7.5 and NIfTI pairs with nibabel: a header `.hdr` and its voxels in `.img`.

Analyze has spacing but no orientation; radiological order is assumed (the first voxel at the patient's right,
as in nibabel) and reported. These formats are never written: results are single-file NIfTI.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.analyze import AnalyzeHeader, AnalyzeImage
from nibabel.fileholders import FileHolder
from nibabel.nifti1 import Nifti1Header, Nifti1Pair, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2Pair, Nifti2PairHeader
from numpy.typing import NDArray

from ldseg.data.formats.decompress import read_to_end
from ldseg.data.formats.nifti import promised_bytes, to_placed_volume
from ldseg.data.volume import Axes, Kind, Volume
from ldseg.errors import file_error, translate_errors

_HEADER_1, _HEADER_2 = 348, 540  # bytes
_MAGIC_1, _MAGIC_2 = slice(344, 347), slice(4, 7)
_OF_ONE_FILE = ("sizeof_hdr", "magic", "vox_offset")
"""Fields that differ between single files and pairs."""


def read(path: Path, kind: Kind, axes: Axes | None) -> Volume:
    """See `Format.read`."""
    del kind
    block = path.read_bytes()[:_HEADER_2]
    voxels = data_file(path)
    if voxels == path:
        raise file_error(path, f"its data file {path.stem}.img is missing", "copy it beside the header")
    with translate_errors(path, "Analyze or NIfTI"):
        make = _image_type(block)
        block = block[: _HEADER_2 if make is Nifti2Pair else _HEADER_1]
        header = make.header_class(block)
        content = _content(voxels, promised_bytes(header, voxels))
        files = {"header": FileHolder(fileobj=BytesIO(block)), "image": FileHolder(fileobj=BytesIO(content))}
        image = make.from_file_map(files)
        array = np.asanyarray(image.dataobj)
    if make is AnalyzeImage:
        return _analyze(array, AnalyzeHeader(block, check=False), path, axes)
    return to_placed_volume(array, _in_one_file(block, make is Nifti2Pair), path, axes)


def data_file(path: Path) -> Path:
    """Return the file that holds the voxels of a header; the header itself if there is none."""
    names = [path.with_suffix(ending) for ending in (".img", ".IMG", ".img.gz")]
    return next((name for name in names if name.is_file()), path)


def _in_one_file(block: bytes, second: bool) -> Nifti1Header:
    """Return the header of a pair as a single-file header with the same geometry."""
    pair = (Nifti2PairHeader if second else Nifti1PairHeader)(block, check=False)
    own = (Nifti2Header if second else Nifti1Header)(check=False)
    for field in pair.structarr.dtype.names or ():
        if field not in _OF_ONE_FILE:
            own[field] = pair[field]
    return own


def _analyze(array: NDArray[Any], header: AnalyzeHeader, path: Path, axes: Axes | None) -> Volume:
    """Return the volume of an Analyze file, with the affine that nibabel assigns."""
    if path.with_suffix(".mat").exists():
        finding = f"has its orientation in {path.with_suffix('.mat').name}, which is not read"
        raise file_error(path, finding, "convert it to .nii.gz")
    own = Nifti1Header()
    own.set_data_shape(array.shape)
    own["pixdim"][1:5] = header["pixdim"][1:5]
    if min(float(step) for step in np.asarray(header["pixdim"])[1:4]) > 0:
        own.set_sform(header.get_base_affine(), 1)
    note = "is Analyze, which does not say where left is: the first voxel is taken to lie at the right"
    volume = to_placed_volume(array, own, path, axes)
    return replace(volume, native=None, notes=(*volume.notes, note))


def _image_type(block: bytes) -> type[AnalyzeImage] | type[Nifti1Pair] | type[Nifti2Pair]:
    """Return nibabel's class for a header, by its magic word or, for Analyze, by its size."""
    if block[_MAGIC_2] == b"ni2":
        return Nifti2Pair
    if block[_MAGIC_1] == b"ni1":
        return Nifti1Pair
    if _HEADER_1 not in (int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")):
        raise ValueError("it has no such header")
    return AnalyzeImage


def _content(path: Path, expected: int) -> bytes:
    """Return the voxels' bytes, at most as many as the header declares. Raises ValueError for fewer."""
    packed = path.suffix == ".gz"
    with gzip.GzipFile(path) if packed else path.open("rb") as file:
        content = file.read(expected)
        if len(content) < expected:
            raise ValueError(f"{len(content)} of {expected} bytes of voxels are there")
        if packed:
            read_to_end(file, expected)
    return content


def refuse(path: Path, volume: Volume) -> None:
    """Raise InputError: Analyze has no orientation, so it is never written."""
    del volume
    raise file_error(path, "Analyze has no orientation", "write .nii.gz")
