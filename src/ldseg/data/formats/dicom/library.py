"""pydicom and highdicom, which come with the extra `dicom`, imported where they are first needed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ldseg.data.faults import decoding, file_error
from ldseg.data.formats.streams import inflated_size
from ldseg.errors import InputError

_META_LIMIT = 2**12
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_USUAL, _RATIO = 2**26, 16
"""Bytes that a deflated data set may inflate to, or so many times its file; twice that is refused."""


def library(name: str) -> Any:
    """The module `name`. Raises InputError with the way to install it when it is not there."""
    try:
        return import_module(name)
    except ImportError as problem:
        package = name.partition(".")[0]
        raise InputError(
            f'{package} is missing, which DICOM needs; install it with pip install "ldseg[dicom]"'
        ) from problem


@contextmanager
def reading(path: Path) -> Generator[None, None, None]:
    """One line for what pydicom raises at `path`."""
    with decoding(path, "DICOM"):
        yield


def read_dataset(path: Path, pixels: bool = False) -> Any:
    """The data set in a file, without its pixels unless they are wanted. Raises InputError."""
    pydicom = library("pydicom")
    with reading(path):
        _refuse_bomb(path)
        dataset = pydicom.dcmread(path, stop_before_pixels=not pixels)
    if "SOPClassUID" not in dataset:
        raise file_error(path, "is DICOM without a SOP class", "export it again")
    return dataset


def _refuse_bomb(path: Path) -> None:
    """pydicom inflates a deflated data set whole. Raises ValueError for one that would be far too large."""
    with path.open("rb") as file:
        head = file.read(_META_LIMIT)
    if head[128:132] != b"DICM" or _DEFLATED not in head:
        return
    length = int.from_bytes(head[140:144], "little")  # of the meta information behind this number
    inflated_size(path, 144 + length, max(_USUAL, _RATIO * path.stat().st_size), "deflate")
