"""Analyze 7.5 and NIfTI pairs: a header `.hdr` and its voxels in `.img`, read with nibabel.

Analyze has spacing and no orientation; it is taken for radiological (the first voxel at the patient's right,
as nibabel takes it), and that is said. Nothing is written in these formats: results are NIfTI in one file.
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
from ldseg.data.formats.format import Format
from ldseg.data.formats.nifti import promised_bytes, to_placed_volume
from ldseg.data.volume import Axes, Kind, Volume
from ldseg.errors import file_error, translate_errors

_HEADER_1, _HEADER_2 = 348, 540  # bytes
_MAGIC_1, _MAGIC_2 = slice(344, 347), slice(4, 7)
_OF_ONE_FILE = ("sizeof_hdr", "magic", "vox_offset")
"""Fields that differ between one file and a pair."""


def read(path: Path, kind: Kind, axes: Axes | None) -> Volume:
    """See `Format.read`."""
    del kind
    block = path.read_bytes()[:_HEADER_2]
    voxels = _voxel_file(path)
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


def _in_one_file(block: bytes, second: bool) -> Nifti1Header:
    """The header of a pair as that of one file with the same geometry."""
    pair = (Nifti2PairHeader if second else Nifti1PairHeader)(block, check=False)
    own = (Nifti2Header if second else Nifti1Header)(check=False)
    for field in pair.structarr.dtype.names or ():
        if field not in _OF_ONE_FILE:
            own[field] = pair[field]
    return own


def _analyze(array: NDArray[Any], header: AnalyzeHeader, path: Path, axes: Axes | None) -> Volume:
    """Voxels with the affine that nibabel gives them."""
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
    """By the magic words; Analyze has none, but the size of its header."""
    if block[_MAGIC_2] == b"ni2":
        return Nifti2Pair
    if block[_MAGIC_1] == b"ni1":
        return Nifti1Pair
    if _HEADER_1 not in (int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")):
        raise ValueError("it has no such header")
    return AnalyzeImage


def _voxel_file(path: Path) -> Path:
    """The file beside the header. Raises InputError when it is missing."""
    for ending in (".img", ".IMG", ".img.gz"):
        if path.with_suffix(ending).is_file():
            return path.with_suffix(ending)
    raise file_error(path, f"its data file {path.stem}.img is missing", "copy it beside the header")


def _content(path: Path, expected: int) -> bytes:
    """The voxels, no more of them than the header promises."""
    packed = path.suffix == ".gz"
    with gzip.GzipFile(path) if packed else path.open("rb") as file:
        content = file.read(expected)
        if len(content) < expected:
            raise ValueError(f"{len(content)} of {expected} bytes of voxels are there")
        if packed:
            read_to_end(file, expected)
    return content


def refuse(path: Path, volume: Volume) -> None:
    """Nothing is written as Analyze, which has no orientation."""
    del volume
    raise file_error(path, "Analyze has no orientation", "write .nii.gz")


ANALYZE = Format("Analyze or NIfTI", (".hdr",), read, refuse, has_geometry=True)
