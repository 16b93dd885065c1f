"""Compressed voxels: how many bytes they inflate to, none of them kept, and not beyond what they should."""

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
_BEYOND = 2**16  # bytes that a stream may have more than twice what it should


class Inflate(Protocol):
    """What the decompressors of the standard library have in common, with pieces of a bounded size."""

    def feed(self, content: bytes) -> int:
        """Take more and return how many bytes came out, at most `_PIECE`."""
        ...

    @property
    def hungry(self) -> bool:
        """Whether it wants more before anything else can come out."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the stream is whole; its checksum was right."""
        ...


class _Zlib:
    """zlib and gzip streams, or bare ones."""

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
    """bzip2 and lzma."""

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
"""By compression; zlib reads gzip too, deflate has no header and no checksum."""


def inflated_size(path: Path, start: int, expected: int, compression: str = "zlib", length: int = -1) -> int:
    """Bytes that the stream at `start` of a file inflates to; its checksum is compared.

    `length` are the bytes that it takes in the file, -1 for all. Raises ValueError when it ends early, or
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
    """Read what little may follow the `expected` bytes, so that gzip compares its checksum.

    Raises ValueError for a stream that goes on and on.
    """
    beyond = 0
    while more := len(file.read(_PIECE)):
        beyond += more
        if beyond > expected + _PIECE:
            raise ValueError(f"it inflates to far more than the {expected} bytes that its header promises")
