"""Is a MetaImage file whole? ITK reads damaged compressed data as garbage and only mutters about it.

The header is lines of `Key = value`, the last `ElementDataFile = LOCAL` (voxels follow) or a file name.
"""

from __future__ import annotations

import os
import zlib
from math import prod
from pathlib import Path

_HEADER_LIMIT = 1 << 20
_CHUNK = 1 << 20
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


def check_whole(path: Path) -> None:
    """Raise ValueError when the header is incomplete or there are fewer voxels than it promises."""
    header, start = _header(path)
    source = header["ElementDataFile"]
    binary = header.get("BinaryData", "True").lower() != "false"
    if header["ElementType"] not in _BYTES or not binary or source.split(" ")[0] == "LIST" or "%" in source:
        return  # rare kinds are left to ITK
    voxels = prod(int(n) for n in header["DimSize"].split()) * int(header.get("ElementNumberOfChannels", 1))
    expected = voxels * _BYTES[header["ElementType"]]
    data = path if source == "LOCAL" else path.parent / source
    if not data.is_file():
        raise ValueError(f"its data file {source} is missing")
    start = start if source == "LOCAL" else max(int(header.get("HeaderSize", 0)), 0)
    compressed = header.get("CompressedData", "False").lower() == "true"
    found = _inflated_size(data, start) if compressed else data.stat().st_size - start
    if found < expected:
        raise ValueError(f"{found} of {expected} bytes of voxels are there")


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Keys and values, and where the voxels begin."""
    with path.open("rb") as file:
        text = file.read(_HEADER_LIMIT)
    found: dict[str, str] = {}
    start = 0
    while "ElementDataFile" not in found:
        end = text.find(b"\n", start)
        key, equals, value = os.fsdecode(text[start : end if end >= 0 else len(text)]).partition("=")
        if not equals:
            raise ValueError("its header is incomplete")
        found[key.strip()] = value.strip()
        if end < 0:
            break
        start = end + 1
    if not {"ElementDataFile", "ElementType", "DimSize"} <= set(found) or not found["ElementDataFile"]:
        raise ValueError("its header is incomplete")
    return found, start


def _inflated_size(data: Path, start: int) -> int:
    """Bytes after decompression; zlib checks their sum. Keeps one chunk in memory."""
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    size = 0
    with data.open("rb") as file:
        file.seek(start)
        while not inflate.eof and (chunk := file.read(_CHUNK)):
            size += len(inflate.decompress(chunk))
    if not inflate.eof:
        raise ValueError("its compressed voxels end early")
    return size
