"""Detect DICOM files by their ending, else by their first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

ENDINGS = (".dcm", ".dicom", ".ima")
_MAGIC_AT, _MAGIC = 128, b"DICM"
_TIFF = (".tif", ".tiff", ".btf", ".svs")
"""Slides may be TIFF and DICOM at once; the ending decides."""
_GROUPS = (0x0002, 0x0008)
"""Groups with which a data set begins: file meta information, or identification."""
_NEXT = (*_GROUPS, 0x0010, 0x0018, 0x0020)
_FIRST = 0x0018
"""Number of the last element with which a data set may begin: SOPInstanceUID."""
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")
"""Value representations with a four-byte length field."""
_LONGEST = 2**10
"""Maximum length of the first element in bytes; it is a group length, a character set or a UID."""
_ENOUGH = 2
"""Number of elements that must be in ascending order."""
_HEAD = _ENOUGH * (12 + _LONGEST) + 4


def is_dicom_file(path: Path) -> bool:
    """Return whether a visible file is DICOM: by its ending, or by its content."""
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    suffix = path.suffix.lower()
    return suffix in ENDINGS or (suffix not in _TIFF and has_dicom_content(path))


def has_dicom_content(path: Path) -> bool:
    """Return whether the first bytes of a file are those of DICOM, with or without preamble."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return has_preamble(head) or starts_with_elements(head)


def has_preamble(head: bytes) -> bool:
    """Return whether the first bytes of a file are a preamble and the magic word."""
    return head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC


def starts_with_elements(head: bytes) -> bool:
    """Return whether the first bytes are a data set without preamble: some elements in ascending order."""
    return any(_are_elements(head, order) for order in ("little", "big"))


def _are_elements(head: bytes, order: Literal["little", "big"]) -> bool:
    at, tag = 0, _tag(head, 0, order)
    if tag[0] not in _GROUPS or tag[1] > _FIRST:
        return False
    for _ in range(_ENOUGH):
        following = _end_of_element(head, at, order)
        if following is None or len(head) < following + 4:
            return False
        after = _tag(head, following, order)
        if after <= tag or after[0] not in _NEXT:
            return False
        at, tag = following, after
    return True


def _end_of_element(head: bytes, at: int, order: Literal["little", "big"]) -> int | None:
    """Return the offset after the element at `at`; None if its length is odd or too large."""
    kind = head[at + 4 : at + 6]
    if kind.isalpha() and kind.isupper():
        start, size = (at + 12, head[at + 8 : at + 12]) if kind in _LONG else (at + 8, head[at + 6 : at + 8])
    elif order == "little":
        start, size = at + 8, head[at + 4 : at + 8]
    else:
        return None  # without value representations numbers are little endian
    length = int.from_bytes(size, order)
    return None if length % 2 or length > _LONGEST else start + length


def _tag(head: bytes, at: int, order: Literal["little", "big"]) -> tuple[int, int]:
    """Return group and element number at `at`."""
    return int.from_bytes(head[at : at + 2], order), int.from_bytes(head[at + 2 : at + 4], order)


def dicom_files(folder: Path) -> list[Path]:
    """Return the visible DICOM files directly in `folder`, ascending by name."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError:
        return []
    return [path for path in entries if is_dicom_file(path)]
