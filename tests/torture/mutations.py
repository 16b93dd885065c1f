"""Damage that needs no knowledge of the format: to the bytes of a file, to what its path is, to its name."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

Random = np.random.Generator
_HEADER = 600
_INTEGERS = (0, 1, -1, 2**15 - 1, 2**16 - 1, 2**31 - 1, -(2**31))
_FLOATS = (float("nan"), float("inf"), -float("inf"), 1e30, -1.0, 0.0)
_NUMBERS = (b"0", b"-1", b"99999", b"2147483647", b"-99999999999", b"1e400", b"nan", b"18446744073709551617")
_MAGICS = (
    b"\x89PNG\r\n\x1a\n",
    b"BM",
    b"\xff\xd8\xff\xe0",
    b"II*\0",
    b"MM\0*",
    b"NRRD0004\n",
    b"PK\3\4",
    b"\x1f\x8b",
)


def truncated(content: bytes, rng: Random) -> bytes:
    return content[: int(rng.integers(1, max(2, len(content))))]


def header_bits(content: bytes, rng: Random) -> bytes:
    return _flipped(content, rng, min(len(content), _HEADER), int(rng.integers(1, 12)))


def any_bits(content: bytes, rng: Random) -> bytes:
    return _flipped(content, rng, len(content), int(rng.integers(1, 40)))


def zeroed(content: bytes, rng: Random) -> bytes:
    start, stop = _part(content, rng)
    return content[:start] + bytes(stop - start) + content[stop:]


def noise(content: bytes, rng: Random) -> bytes:
    start, stop = _part(content, rng)
    return content[:start] + rng.bytes(stop - start) + content[stop:]


def repeated(content: bytes, rng: Random) -> bytes:
    start, stop = _part(content, rng)
    return content[:stop] + content[start:stop] * int(rng.integers(1, 5)) + content[stop:]


def cut_out(content: bytes, rng: Random) -> bytes:
    start, stop = _part(content, rng)
    return content[:start] + content[stop:]


def extreme(content: bytes, rng: Random) -> bytes:
    """Numbers at the edge of their type somewhere in the header, of either byte order."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        form = rng.choice(["<h", ">h", "<i", ">i", "<f", ">f", "<q"])
        value = rng.choice(_FLOATS) if form[1] == "f" else int(rng.choice(_INTEGERS))
        if form[1] == "h":
            value = (int(value) + 2**15) % 2**16 - 2**15
        packed = struct.pack(form, value)
        place = int(rng.integers(0, max(1, min(len(content), _HEADER) // 2))) * 2
        changed[place : place + len(packed)] = packed
    return bytes(changed)


def written_number(content: bytes, rng: Random) -> bytes:
    """Another number where the header has one in digits."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", content[: 4 * _HEADER]))
    if not found:
        return extreme(content, rng)
    one = found[int(rng.integers(len(found)))]
    return content[: one.start()] + _NUMBERS[int(rng.integers(len(_NUMBERS)))] + content[one.end() :]


def magic(content: bytes, rng: Random) -> bytes:
    start = _MAGICS[int(rng.integers(len(_MAGICS)))]
    return start + content[len(start) :]


def empty(content: bytes, rng: Random) -> bytes:
    del content, rng
    return b""


BYTES: dict[str, Callable[[bytes, Random], bytes]] = {
    function.__name__: function
    for function in (
        truncated,
        header_bits,
        any_bits,
        zeroed,
        noise,
        repeated,
        cut_out,
        extreme,
        written_number,
        magic,
        empty,
    )
}
"""By name; each returns other bytes."""


def a_folder(path: Path) -> None:
    path.mkdir()


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_link_to_its_folder(path: Path) -> None:
    path.symlink_to(path.parent, target_is_directory=True)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


PATHS: dict[str, Callable[[Path], None]] = {
    function.__name__: function
    for function in (a_folder, a_loop, a_dangling_link, a_link_to_its_folder, a_pipe, a_link_to_a_device)
}
"""By name; each is put in the place of the file, which is gone."""

NAMES = (
    "with spaces and 'quotes\"",
    "Größe 脑 é 🧠",
    "-o",
    "new\nline",
    "l" * 200,
    "semi;colon && $(touch x) %s {0} [red]",
    os.fsdecode(b"latin-1 \xe9\xff"),
    "...",
    "CON",
    "\x1b[31mred",
)
"""Names that a sound file may have."""


def _flipped(content: bytes, rng: Random, length: int, count: int) -> bytes:
    changed = bytearray(content)
    for _ in range(count):
        changed[int(rng.integers(length))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _part(content: bytes, rng: Random) -> tuple[int, int]:
    start = int(rng.integers(len(content)))
    return start, min(len(content), start + int(rng.integers(1, 64)))
