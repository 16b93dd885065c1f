"""Measure the size of compressed voxels without keeping them, and stop at decompression bombs."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Protocol

_CHUNK = 2**18  # bytes read at once
_PIECE = 2**24  # bytes inflated at once
_BEYOND = 2**16  # bytes allowed beyond twice the expected size


class Inflate(Protocol):
    """Common interface of the standard library's decompressors, with output of bounded size."""

    def feed(self, content: bytes) -> int:
        """Decompress more input and return the number of output bytes, at most `_PIECE`."""
        ...

    @property
    def hungry(self) -> bool:
        """Return whether more input is needed before there is more output."""
        ...

    @property
    def ended(self) -> bool:
        """Return whether the stream is complete with a correct checksum."""
        ...


class _Zlib:
    """Decompressor for zlib, gzip and raw deflate streams."""

    def __init__(self, form: int = zlib.MAX_WBITS | 32) -> None:
        self._stream, self._rest, self.ended = zlib.decompressobj(form), b"", False

    @property
    def hungry(self) -> bool:
        return not self._rest

    def feed(self, content: bytes) -> int:
        size = len(self._stream.decompress(self._rest + content, _PIECE))
        self._rest, self.ended = self._stream.unconsumed_tail, self._stream.eof
        return size


class _Other:
    """Decompressor for bzip2 and lzma."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def hungry(self) -> bool:
        return bool(self._stream.needs_input)

    @property
    def ended(self) -> bool:
        return bool(self._stream.eof)

    def feed(self, content: bytes) -> int:
        return len(self._stream.decompress(content, _PIECE))


INFLATE: dict[str, Callable[[], Inflate]] = {
    "zlib": _Zlib,
    "deflate": lambda: _Zlib(-zlib.MAX_WBITS),
    "bzip2": lambda: _Other(bz2.BZ2Decompressor()),
    "lzma": lambda: _Other(lzma.LZMADecompressor()),
}
"""Decompressor by compression name; zlib reads gzip too, deflate has no header and no checksum."""


def inflated_size(path: Path, start: int, expected: int, compression: str = "zlib", length: int = -1) -> int:
    """Return the decompressed size of the stream at `start` of a file; its checksum is verified.

    `length` is the compressed size in bytes, -1 for all. Raises ValueError when it ends early, or
    gives far more than `expected`.
    """
    inflate, size, left = INFLATE[compression](), 0, length
    with path.open("rb") as file:
        file.seek(start)
        while not inflate.ended:
            content = b""
            if inflate.hungry:
                content = file.read(_CHUNK if left < 0 else min(_CHUNK, left))
                left -= len(content) if left > 0 else 0
                if not content:
                    raise ValueError("its compressed voxels end early")
            size += inflate.feed(content)
            if size > 2 * expected + _BEYOND:
                raise ValueError(f"its compressed voxels are far more than the {expected} bytes it promises")
    return size


def read_to_end(file: BufferedIOBase, expected: int) -> None:
    """Read the few bytes that may follow the `expected` ones, so that gzip verifies its checksum.

    Raises ValueError for a stream that is far longer.
    """
    beyond = 0
    while more := len(file.read(_PIECE)):
        beyond += more
        if beyond > expected + _PIECE:
            raise ValueError(f"it inflates to far more than the {expected} bytes that its header promises")
