"""Streams of zeros, small until they are decompressed. Their checksums are wrong: nobody should get there."""

from __future__ import annotations

import gzip
import zlib
from functools import lru_cache

_BLOCK = 2**24
GIGABYTES = 6
"""What a bomb decompresses to, unless asked otherwise."""


@lru_cache
def _block() -> tuple[bytes, bytes]:
    """The start of a raw stream, and a part of it that may be repeated; each inflates to `_BLOCK` zeros."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [squeeze.compress(bytes(_BLOCK)) + squeeze.flush(zlib.Z_FULL_FLUSH) for _ in range(2)]
    return parts[0], parts[1]


def deflated(size: int = GIGABYTES * 10**9, start: bytes = b"") -> bytes:
    """A raw deflate stream of `start` and `size` zeros."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = squeeze.compress(start) + squeeze.flush(zlib.Z_FULL_FLUSH)
    first, again = _block()
    return head + first + again * (size // _BLOCK) + b"\x03\x00"


@lru_cache(maxsize=4)
def zlib_stream(size: int = GIGABYTES * 10**9, start: bytes = b"") -> bytes:
    """The same as zlib wraps it."""
    return b"\x78\xda" + deflated(size, start) + bytes(4)


@lru_cache(maxsize=4)
def gzip_stream(size: int = GIGABYTES * 10**9, start: bytes = b"") -> bytes:
    """The same as gzip wraps it."""
    return gzip.compress(b"")[:10] + deflated(size, start) + bytes(8)
