"""NIfTI, MetaImage, NRRD and DICOM files that say what is not so, or more than anyone can hold."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bombs
import numpy as np
from dicom_builders import a_series
from nibabel.nifti1 import Nifti1Header

Write = Callable[[Path], None]
_VOXELS = np.arange(6 * 16 * 20, dtype="<i2")
_NAN, _INF = float("nan"), float("inf")
_EXTENSIONS = (0, -16, 7, 2**31 - 1, 24)
_FIELDS: list[dict[str, Any]] = [
    {"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]},
    {"dim": [7] + [32767] * 7},
    {"dim": [3, 2000, 2000, 2000, 1, 1, 1, 1]},
    {"dim": [3, 20, -16, 6, 1, 1, 1, 1]},
    {"dim": [3, 0, 16, 6, 1, 1, 1, 1]},
    {"dim": [3, 20, 16, 0, 1, 1, 1, 1]},
    {"dim": [0, 20, 16, 6, 1, 1, 1, 1]},
    {"dim": [1, 1920, 1, 1, 1, 1, 1, 1]},
    {"dim": [8, 20, 16, 6, 1, 1, 1, 1]},
    {"dim": [-3, 20, 16, 6, 1, 1, 1, 1]},
    {"dim": [5, 5, 4, 2, 3, 2, 1, 1]},
    {"datatype": 0},
    {"datatype": 1, "bitpix": 1},
    {"datatype": 32, "bitpix": 64, "dim": [3, 20, 16, 1, 1, 1, 1, 1]},
    {"datatype": 128, "bitpix": 24, "dim": [3, 20, 16, 4, 1, 1, 1, 1]},
    {"datatype": 1536, "bitpix": 128, "dim": [3, 10, 8, 3, 1, 1, 1, 1]},
    {"datatype": 9999},
    {"bitpix": -16},
    {"vox_offset": 0},
    {"vox_offset": -352},
    {"vox_offset": 1e30},
    {"vox_offset": _NAN},
    {"scl_slope": _INF},
    {"scl_slope": 1e38, "scl_inter": 1e38},
    {"scl_slope": _NAN, "scl_inter": 3},
    {"pixdim": [1, 0, 0, 0, 0, 0, 0, 0]},
    {"pixdim": [1, _NAN, 1, 1, 1, 1, 1, 1]},
    {"pixdim": [1, 1e6, 1e6, 1e6, 1, 1, 1, 1]},
    {"pixdim": [1, 1e-12, 1e-12, 1e-12, 1, 1, 1, 1]},
    {"pixdim": [1, -1, -1, -1, 1, 1, 1, 1]},
    {"sform_code": 1, "srow_x": [_NAN] * 4},
    {"sform_code": 1, "srow_x": [0] * 4, "srow_y": [0] * 4, "srow_z": [0] * 4},
    {"sform_code": 1, "srow_x": [1e5, 0, 0, 0], "srow_y": [0, 1e5, 0, 0], "srow_z": [0, 0, 1e5, 0]},
    {"qform_code": 1, "quatern_b": 5, "quatern_c": 5, "quatern_d": 5},
    {"qform_code": -7, "sform_code": 999},
    {"xyzt_units": 255},
    {"magic": b"ni1"},
    {"magic": b"abc"},
    {"sizeof_hdr": 540},
]


def _nifti(fields: dict[str, Any], voxels: bytes, extension: bytes = bytes(4)) -> bytes:
    header = Nifti1Header(endianness="<")
    header.set_data_shape((20, 16, 6))
    header.set_data_dtype(np.int16)
    header["magic"], header["vox_offset"] = b"n+1", 352 if len(extension) == 4 else 348 + len(extension)
    array = header.structarr
    for name, value in fields.items():
        array[name] = value
    return array.tobytes() + extension + voxels


def _put(path: Path, content: bytes) -> None:
    if path.suffix == ".gz":
        content = gzip.compress(content, 1)
    path.write_bytes(content)


def _save_nifti(fields: dict[str, Any], voxels: bytes, path: Path, extension: bytes = bytes(4)) -> None:
    _put(path, _nifti(fields, voxels, extension))


def _floats(value: float, path: Path) -> None:
    voxels = _VOXELS.astype("<f4")
    voxels[7] = value
    _save_nifti({"datatype": 16, "bitpix": 32}, voxels.tobytes(), path)


def _bomb(fields: dict[str, Any], path: Path) -> None:
    start = _nifti(fields, _VOXELS.tobytes())
    path.write_bytes(bombs.gzip_stream(start=start))


def _nifti_files() -> list[Write]:
    voxels = _VOXELS.tobytes()
    found: list[Write] = [partial(_save_nifti, fields, voxels) for fields in _FIELDS]
    for size in _EXTENSIONS:
        extension = b"\1\0\0\0" + struct.pack("<ii", size, 2) + bytes(24)
        found.append(partial(_save_nifti, {}, voxels, extension=extension))
    return [*found, *(partial(_floats, value) for value in (_NAN, _INF, 3e38, 1e-45))]


def _nifti_gz_files() -> list[Write]:
    whole = {"dim": [3, 2000, 2000, 1500, 1, 1, 1, 1], "datatype": 2, "bitpix": 8}
    return [partial(_bomb, {}), partial(_bomb, whole), *_nifti_files()]


_META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "0 0 0",
    "ElementSpacing": "1 1 1",
    "DimSize": "20 16 6",
    "ElementType": "MET_SHORT",
}
_META_CHANGES: list[dict[str, str]] = [
    {"DimSize": "2000000 2000000 2000000"},
    {"DimSize": "2000 2000 2000"},
    {"DimSize": "0 16 6"},
    {"DimSize": "-20 -16 6"},
    {"DimSize": "20 16"},
    {"DimSize": "twenty"},
    {"DimSize": "4294967296 4294967296 1"},
    {"NDims": "0"},
    {"NDims": "-1"},
    {"NDims": "1000"},
    {"NDims": "10", "DimSize": "1 1 1 1 1 1 1 1 1 1"},
    {"NDims": "2", "DimSize": "1920 1"},
    {"ElementSpacing": "0 0 0"},
    {"ElementSpacing": "-1 1 1"},
    {"ElementSpacing": "nan 1 1"},
    {"ElementSpacing": "1e6 1e6 1e6"},
    {"ElementSpacing": "1"},
    {"Offset": "nan inf 0"},
    {"TransformMatrix": "0 0 0 0 0 0 0 0 0"},
    {"TransformMatrix": "1 2 3 4 5 6 7 8 9"},
    {"TransformMatrix": "nan 0 0 0 1 0 0 0 1"},
    {"ElementType": "MET_BYTE"},
    {"ElementType": "MET_STRING"},
    {"ElementType": "MET_LONG_LONG_ARRAY"},
    {"ElementNumberOfChannels": "1000000"},
    {"ElementNumberOfChannels": "-1"},
    {"ElementNumberOfChannels": "0"},
    {"BinaryData": "False"},
    {"BinaryData": "False", "DimSize": "100000 100000 100000"},
    {"CompressedData": "True"},
    {"CompressedData": "True", "CompressedDataSize": "99999999999"},
    {"HeaderSize": "-1"},
    {"HeaderSize": "999999999"},
    {"ElementDataFile": "LIST"},
    {"ElementDataFile": "LIST 2"},
    {"ElementDataFile": "slice%03d.raw 1 1000000000 1"},
    {"ElementDataFile": "/dev/zero"},
    {"ElementDataFile": "/etc/passwd"},
    {"ElementDataFile": "../../../../../../etc/passwd"},
    {"ElementDataFile": "pipe"},
    {"ElementDataFile": ""},
    {"ElementDataFile": "."},
    {"Comment": "x" * 100_000},
    {"ObjectType": "Mesh"},
    {"ObjectType": "Tube", "NPoints": "2000000000"},
]


def _meta(changes: dict[str, str], voxels: bytes, path: Path) -> None:
    """Voxels in the file itself, or beside it where the format is a pair."""
    beside = path.suffix == ".mhd"
    fields = _META | {"ElementDataFile": "b.raw" if beside else "LOCAL"} | changes
    last = fields.pop("ElementDataFile")
    header = "".join(f"{key} = {value}\n" for key, value in fields.items()) + f"ElementDataFile = {last}\n"
    path.write_bytes(header.encode() + (b"" if beside else voxels))
    if beside:
        (path.parent / "b.raw").write_bytes(voxels)
    if last == "pipe":
        _pipe(path.parent / "pipe")


def _meta_files() -> list[Write]:
    packed = {"CompressedData": "True"}
    large = packed | {"DimSize": "2000 2000 1500", "ElementType": "MET_UCHAR"}
    floats = _VOXELS.astype("<f4")
    floats[5] = _NAN
    return [
        *(partial(_meta, changes, _VOXELS.tobytes()) for changes in _META_CHANGES),
        *(partial(_packed_meta, changes) for changes in (packed, large)),
        partial(_meta, {"ElementType": "MET_FLOAT"}, floats.tobytes()),
        partial(_meta, {"BinaryDataByteOrderMSB": "True"}, _VOXELS.tobytes()),
    ]


def _packed_meta(changes: dict[str, str], path: Path) -> None:
    stream = bombs.zlib_stream()
    _meta(changes | {"CompressedDataSize": str(len(stream))}, stream, path)


_NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "20 16 6",
    "space directions": "(1,0,0) (0,1,0) (0,0,1)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(0,0,0)",
}
_NRRD_CHANGES: list[dict[str, str]] = [
    {"sizes": "2000000 2000000 2000000"},
    {"sizes": "2000 2000 2000"},
    {"sizes": "0 16 6"},
    {"sizes": "-20 16 6"},
    {"sizes": "20 16"},
    {"sizes": "4294967296 4294967296 1"},
    {"dimension": "0"},
    {"dimension": "-3"},
    {"dimension": "17", "sizes": " ".join("1" * 17)},
    {"dimension": "1", "sizes": "1920"},
    {"type": "block", "block size": "1000000000"},
    {"type": "int128"},
    {"type": "double"},
    {"endian": "middle"},
    {"endian": "big"},
    {"encoding": "gzip"},
    {"encoding": "bzip2"},
    {"encoding": "hex"},
    {"encoding": "ascii"},
    {"encoding": "ascii", "sizes": "2000 2000 2000"},
    {"encoding": "zstd"},
    {"space": "right-up"},
    {"space directions": "(0,0,0) (0,0,0) (0,0,0)"},
    {"space directions": "(nan,0,0) (0,1,0) (0,0,1)"},
    {"space directions": "(1e6,0,0) (0,1e6,0) (0,0,1e6)"},
    {"space directions": "none none none"},
    {"space directions": "(1,0) (0,1)"},
    {"space origin": "(nan,inf,0)"},
    {"kinds": "vector domain domain"},
    {"kinds": "list list list"},
    {"line skip": "2000000000"},
    {"byte skip": "-1"},
    {"byte skip": "9999999999"},
    {"byte skip": "-99999"},
    {"data file": "/dev/zero"},
    {"data file": "pipe"},
    {"data file": "LIST"},
    {"data file": "../../../../../../etc/passwd"},
    {"data file": "slice%03d.raw 1 1000000000 1"},
    {"content": "x" * 100_000},
    {"spacings": "0 0 0"},
    {"measurement frame": "(1,0,0) (0,1,0)"},
]


def _nrrd(changes: dict[str, str], voxels: bytes, path: Path) -> None:
    header = "".join(f"{key}: {value}\n" for key, value in (_NRRD | changes).items())
    path.write_bytes(b"NRRD0005\n" + header.encode() + b"\n" + voxels)
    if changes.get("data file") == "pipe":
        _pipe(path.parent / "pipe")


def _nrrd_bomb(changes: dict[str, str], path: Path) -> None:
    _nrrd({"encoding": "gzip"} | changes, bombs.gzip_stream(), path)


def _nrrd_files() -> list[Write]:
    return [
        *(partial(_nrrd, changes, _VOXELS.tobytes()) for changes in _NRRD_CHANGES),
        partial(_nrrd_bomb, {}),
        partial(_nrrd_bomb, {"sizes": "2000 2000 1500", "type": "uchar"}),
    ]


def _pipe(path: Path) -> None:
    import os

    os.mkfifo(path)


_DICOM_CHANGES: list[dict[str, Any]] = [
    {"Rows": 65535, "Columns": 65535},
    {"Rows": 0},
    {"NumberOfFrames": 2**31 - 1},
    {"NumberOfFrames": -1},
    {"NumberOfFrames": 900},
    {"SamplesPerPixel": 3},
    {"SamplesPerPixel": 0},
    {"BitsAllocated": 7},
    {"BitsAllocated": 64},
    {"BitsStored": 0},
    {"PixelRepresentation": 9},
    {"PhotometricInterpretation": "PALETTE COLOR"},
    {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 65535},
    {"PhotometricInterpretation": "YBR_FULL_422", "SamplesPerPixel": 3},
    {"PixelSpacing": [0, 0]},
    {"PixelSpacing": [-1, 1]},
    {"PixelSpacing": ["1e9", "1e9"]},
    {"ImagePositionPatient": ["1e400", 0, 0]},
    {"ImagePositionPatient": [0, 0, 0]},
    {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
    {"ImageOrientationPatient": [5, 5, 5, 5, 5, 5]},
    {"RescaleSlope": "1e300"},
    {"RescaleSlope": 0},
    {"RescaleIntercept": "1e39"},
    {"PixelData": b""},
    {"PixelData": b"\0\0"},
    {"SeriesInstanceUID": ""},
    {"SOPClassUID": "1.2.3"},
    {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"},
    {"ConcatenationUID": "1.2.3"},
    {"SpecificCharacterSet": "\\ISO 2022 IR 9999"},
]
_SYNTAXES = (
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.50",  # JPEG
    "1.2.840.10008.1.2.4.90",  # JPEG 2000
    "1.2.840.10008.1.2.1.99",  # deflated
    "1.2.840.10008.1.2.2",  # big endian
    "1.2.3.4",
)
_SERIES_VOXELS = _VOXELS.reshape(6, 16, 20)


def _dicom(changes: dict[str, Any], path: Path) -> None:
    def change(dataset: Any, number: int) -> None:
        if number != 2:
            return
        for name, value in changes.items():
            setattr(dataset, name, value)

    a_series(path, _SERIES_VOXELS, change=change)


def _after(tail: Callable[[bytes], bytes], path: Path) -> None:
    """A sound series of which one file is changed as bytes."""
    a_series(path, _SERIES_VOXELS)
    first = sorted(path.iterdir())[0]
    first.write_bytes(tail(first.read_bytes()))


def _with_syntax(syntax: str, content: bytes) -> bytes:
    """Another transfer syntax in the header, of the same length."""
    own = b"1.2.840.10008.1.2.1\0"
    place = content.find(own)
    return content[:place] + syntax.encode()[: len(own)].ljust(len(own), b"\0") + content[place + len(own) :]


def _deflated_bomb(content: bytes) -> bytes:
    """A data set that inflates to gigabytes, after a whole meta header that says so."""
    syntax = b"1.2.840.10008.1.2.1.99"
    meta = b"\x02\0\x10\0UI" + struct.pack("<H", len(syntax)) + syntax
    group = b"\x02\0\0\0UL\4\0" + struct.pack("<I", len(meta))
    return content[:132] + group + meta + bombs.deflated(start=b"\x08\0\x60\0CS\2\0OT")


def _nested(content: bytes) -> bytes:
    """Sequences in sequences, each of undefined length."""
    level = b"\x40\0\x75\xa1SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    place = content.find(b"\x08\0\x60\0")
    return content[:place] + level * 20_000


def _dicom_files() -> list[Write]:
    changes: list[Write] = [partial(_dicom, change) for change in _DICOM_CHANGES]
    syntaxes: list[Write] = [partial(_after, partial(_with_syntax, syntax)) for syntax in _SYNTAXES]
    return [*changes, *syntaxes, partial(_after, _deflated_bomb), partial(_after, _nested)]


VOLUMES: dict[str, list[Write]] = {
    "nifti": _nifti_files(),
    "nifti_gz": _nifti_gz_files(),
    "mha": _meta_files(),
    "mhd": _meta_files(),
    "nrrd": _nrrd_files(),
    "dicom": _dicom_files(),
}
"""By kind of `sound_files`."""
