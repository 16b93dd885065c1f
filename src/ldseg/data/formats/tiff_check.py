"""Is a TIFF what it says? tifffile fills what is missing with zeros, and inflates whatever a segment holds.

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
"""Bytes that a segment might inflate to, from which on it is tried first."""
_LARGEST_RATIO = {"zlib": 1032, "lzma": 8192}
_DESCRIPTION = 270
_STREAMS = {
    tifffile.COMPRESSION.ADOBE_DEFLATE: "zlib",
    tifffile.COMPRESSION.DEFLATE: "zlib",
    tifffile.COMPRESSION.LZMA: "lzma",
}
"""The compressions of which tifffile keeps all that comes out."""


def check_chain(file: tifffile.TiffFile) -> None:
    """Raise ValueError for pages that name each other in a circle, and for a description that is cut off.

    Round a circle tifffile would go for ever; the description tells what the pages are.
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
    """Look at the tag ImageDescription among the tags of a page."""
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
    """Raise ValueError when a page's voxels lie beyond the end of the file, or are far more than they should
    be; InputError when there is no room for them."""
    if min(series.shape, default=0) <= 0:
        raise ValueError(f"its shape is {series.shape}")
    require_memory(path, prod(series.shape), 2 * series.dtype.itemsize)
    size = path.stat().st_size
    for page in series.pages:
        check_page(series.keyframe if page is None else page, series.keyframe, path, size)


def check_page(page: Any, key: Any, path: Path, file_size: int) -> None:
    """One page, of which `key` has the tags that all pages of its series share. Raises ValueError."""
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
