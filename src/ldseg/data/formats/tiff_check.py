"""Verify TIFF files: tifffile fills missing data with zeros, and decompresses any amount of data.

A segment is a strip or a tile: the part of a page that is compressed on its own.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import Any

import tifffile

from ldseg.data.formats.decompress import inflated_size
from ldseg.data.formats.tiff_colours import check_colours
from ldseg.errors import file_error
from ldseg.utils.system import require_memory

_SUSPECT = 2**26
"""Possible decompressed size of a segment in bytes from which it is measured first."""
_LARGEST_RATIO = {"zlib": 1032, "lzma": 8192}
_DESCRIPTION = 270
_STREAMS = {
    tifffile.COMPRESSION.ADOBE_DEFLATE: "zlib",
    tifffile.COMPRESSION.DEFLATE: "zlib",
    tifffile.COMPRESSION.LZMA: "lzma",
}
"""Compressions for which tifffile keeps all decompressed data."""


def check_chain(file: tifffile.TiffFile) -> None:
    """Raise ValueError for pages that refer to each other in a circle, and for a truncated description.

    tifffile would follow a circle forever; the description defines the pages.
    """
    form, handle = file.tiff, file.filehandle
    seen: set[int] = set()
    place = file.pages.first.offset
    while 0 < place < handle.size:
        if place in seen:
            raise ValueError("its pages follow each other in a circle")
        seen.add(place)
        handle.seek(place)
        tags = _number(handle.read(form.tagnosize), form.tagnoformat)
        _check_description(handle.read(tags * form.tagsize), form, handle.size)
        handle.seek(place + form.tagnosize + tags * form.tagsize)
        place = _number(handle.read(form.offsetsize), form.offsetformat)


def _check_description(content: bytes, form: Any, file_size: int) -> None:
    """Raise ValueError if the page's tag ImageDescription points beyond the end of the file."""
    counted = struct.calcsize(form.offsetformat)
    for place in range(0, len(content) - form.tagsize + 1, form.tagsize):
        tag = content[place : place + form.tagsize]
        if _number(tag[:2], form.tagnoformat[0] + "H") != _DESCRIPTION:
            continue
        length = _number(tag[4 : 4 + counted], form.offsetformat)
        if length > counted and _number(tag[-counted:], form.offsetformat) + length > file_size:
            raise ValueError("its description is cut off")


def _number(content: bytes, form: str) -> int:
    return struct.unpack(form, content)[0] if len(content) == struct.calcsize(form) else 0


def check_codec(page: Any, path: Path) -> None:
    """Raise InputError for voxels of a compression or colour space that cannot be decoded."""
    unknown = page.compression not in tifffile.TIFF.DECOMPRESSORS
    if unknown or page.predictor not in tifffile.TIFF.UNPREDICTORS:
        name = getattr(page.compression, "name", f"number {page.compression}")
        finding = f"is compressed as {name} with predictor {int(page.predictor)}, which cannot be decoded"
        raise file_error(path, finding, "save it with LZW, deflate or no compression")
    if page.dtype is None:
        raise ValueError(f"its voxels are of {page.bitspersample} bits, sample format {page.sampleformat}")
    check_colours(page, path)


def check_series(series: Any, path: Path) -> None:
    """Raise ValueError for voxels beyond the end of the file, or far more than declared.

    Raises InputError if memory does not suffice.
    """
    if min(series.shape, default=0) <= 0:
        raise ValueError(f"its shape is {series.shape}")
    require_memory(path, prod(series.shape), 2 * series.dtype.itemsize)
    size = path.stat().st_size
    for page in series.pages:
        check_page(series.keyframe if page is None else page, series.keyframe, path, size)


def check_page(page: Any, key: Any, path: Path, file_size: int) -> None:
    """Raise ValueError for a page with missing or oversized segments; `key` has the tags of its series."""
    segments = prod(key.chunked)
    if len(page.dataoffsets) < segments:
        raise ValueError(f"a page of {segments} strips or tiles has {len(page.dataoffsets)} of them")
    expected = prod(key.chunks) * key.dtype.itemsize
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        if start + length > file_size:
            raise ValueError("voxels lie beyond the end of the file")
        stream = _STREAMS.get(key.compression)
        if stream is not None and length * _LARGEST_RATIO[stream] > max(_SUSPECT, 4 * expected):
            inflated_size(path, start, expected, stream, length)
