"""Verify MetaImage files, because ITK reads damaged voxels as garbage and crashes on some headers.

The header is lines of `Key = value`, the last `ElementDataFile = LOCAL` (voxels follow) or a file name.
"""

from __future__ import annotations

import math
import os
from math import prod
from pathlib import Path

from ldseg.data.formats.decompress import inflated_size
from ldseg.errors import file_error
from ldseg.utils.system import require_memory

_HEADER_LIMIT = 1 << 20
_LONGEST_LINE = 1024  # ITK's own buffers have fixed sizes
_MOST_CHANNELS = 1 << 12
_BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG": 4,
    "MET_ULONG": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}
_VECTORS = ("Offset", "Origin", "Position", "CenterOfRotation")
_MATRICES = ("TransformMatrix", "Orientation", "Rotation")
_STEPS = ("ElementSpacing", "ElementSize")


def verify_integrity(path: Path) -> None:
    """Raise ValueError for an inconsistent header or missing voxels, InputError for a lack of memory."""
    header, start = _header(path)
    size = _check_header(header)
    channels = int(header.get("ElementNumberOfChannels", 1))
    if not 0 < channels <= _MOST_CHANNELS:
        raise ValueError(f"ElementNumberOfChannels is {channels}")
    voxels, each = prod(size) * channels, _BYTES[header["ElementType"]]
    require_memory(path, voxels, 2 * each)
    source, data = header["ElementDataFile"], _data_file(path, header)
    if not data.is_file():
        raise ValueError(f"its data file {source} is missing")
    skipped = int(header.get("HeaderSize", 0))
    if source == "LOCAL" and skipped > 0:
        raise ValueError(f"HeaderSize is {skipped} where the voxels are in the file itself")
    start, expected = start if source == "LOCAL" else max(skipped, 0), voxels * each
    if _is_true(header, "CompressedData", "False"):
        found = inflated_size(data, start, expected)
    else:
        found = data.stat().st_size - start
    if found < expected:
        raise ValueError(f"{found} of {expected} bytes of voxels are there")


def data_file(path: Path) -> Path:
    """See `Format.data_file`."""
    return _data_file(path, _header(path)[0])


def _data_file(path: Path, header: dict[str, str]) -> Path:
    source = header["ElementDataFile"]
    return path if source == "LOCAL" else path.parent / source


def has_spacing(path: Path) -> bool:
    """Return whether the header gives a voxel size. Raises InputError if its unit is not mm."""
    header, _ = _header(path)
    unit = header.get("DistanceUnits", "mm").lower()
    if unit in ("um", "cm"):
        raise file_error(path, f"its lengths are in {unit} and not in mm", "write its geometry in mm")
    return any(key in header for key in _STEPS)


def _check_header(header: dict[str, str]) -> list[int]:
    """Return the size along each axis. Raises ValueError for headers that ITK cannot read or crashes on."""
    if header["ElementType"] not in _BYTES:
        raise ValueError(f"ElementType is {header['ElementType']}")
    if header.get("ObjectType", "Image") != "Image":
        raise ValueError(f"ObjectType is {header['ObjectType']}")
    if not _is_true(header, "BinaryData", "True"):
        raise ValueError("its voxels are written in words")
    source = header["ElementDataFile"]
    if source.split(" ")[0] == "LIST" or "%" in source:
        raise ValueError("its voxels are in several files")
    axes = int(header["NDims"])
    if not 2 <= axes <= 4:
        raise ValueError(f"NDims is {axes}")
    size = [int(n) for n in header["DimSize"].split()]
    if len(size) != axes or min(size) <= 0:
        raise ValueError(f"DimSize is {header['DimSize']}")
    lengths = dict.fromkeys((*_VECTORS, *_STEPS), axes) | dict.fromkeys(_MATRICES, axes * axes)
    for key, length in lengths.items():
        values = [float(value) for value in header.get(key, "1 " * length).split()]
        if len(values) != length or not all(map(math.isfinite, values)):
            raise ValueError(f"{key} is {header[key]}")
        if key in _STEPS and min(values) <= 0:
            raise ValueError(f"{key} is {header[key]}")
    return size


def _is_true(header: dict[str, str], key: str, default: str) -> bool:
    value = header.get(key, default).lower()
    if value not in ("true", "false", "t", "f", "1", "0"):
        raise ValueError(f"{key} is {header[key]}")
    return value in ("true", "t", "1")


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Return keys and values of the header, and the offset of the voxels."""
    with path.open("rb") as file:
        text = file.read(_HEADER_LIMIT)
    found: dict[str, str] = {}
    start = 0
    while "ElementDataFile" not in found:
        end = text.find(b"\n", start)
        line = text[start : end if end >= 0 else len(text)]
        key, equals, value = os.fsdecode(line).partition("=")
        key = key.strip()
        if not equals or len(line) > _LONGEST_LINE or key in found or b"\0" in line:
            raise ValueError("its header is incomplete")
        # ITK depends on the order of the lines.
        if key in (*_VECTORS, *_MATRICES, *_STEPS, "DimSize") and "NDims" not in found:
            raise ValueError("its header is in disorder")
        found[key] = value.strip()
        if end < 0:
            break
        start = end + 1
    if (
        not {"ElementDataFile", "ElementType", "NDims", "DimSize"} <= set(found)
        or not found["ElementDataFile"]
    ):
        raise ValueError("its header is incomplete")
    return found, start
