"""pydicom and highdicom, which come with the extra `dicom`, imported where they are first needed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ldseg.data.formats.decompress import inflated_size
from ldseg.data.formats.dicom.files import has_preamble, starts_with_elements
from ldseg.errors import InputError, file_error, translate_errors

_META_LIMIT = 2**12
_SAME = {"SOPClassUID": "MediaStorageSOPClassUID", "SOPInstanceUID": "MediaStorageSOPInstanceUID"}
"""Attributes that the meta information repeats."""
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_USUAL, _RATIO = 2**26, 16
"""Bytes that a deflated data set may inflate to, or so many times its file; twice that is refused."""


def lazy_import(name: str) -> Any:
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
    with translate_errors(path, "DICOM"):
        yield


def read_dataset(path: Path, pixels: bool = False) -> Any:
    """The data set in a file, without its pixels unless they are wanted. Raises InputError.

    A file without preamble, meta information or transfer syntax is read by what its first element looks like.
    """
    pydicom = lazy_import("pydicom")
    with reading(path):
        with path.open("rb") as file:
            head = file.read(_META_LIMIT)
        _refuse_bomb(path, head)
        bare = not has_preamble(head) and starts_with_elements(head)
        dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, force=bare)
        _complete_meta(dataset)
    if "SOPClassUID" not in dataset:
        raise file_error(path, "is DICOM without a SOP class", "export it again")
    return dataset


def _complete_meta(dataset: Any) -> None:
    """Put what the meta information says into the data set, and a transfer syntax where none is said."""
    meta = dataset.file_meta
    for name, own in _SAME.items():
        if not dataset.get(name) and meta.get(own):
            setattr(dataset, name, meta.get(own))
    if not meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        uid = lazy_import("pydicom.uid")
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit


def _refuse_bomb(path: Path, head: bytes) -> None:
    """pydicom inflates a deflated data set whole. Raises ValueError for one that would be far too large."""
    if _DEFLATED not in head:
        return
    start = 132 if has_preamble(head) else 0
    length = int.from_bytes(head[start + 8 : start + 12], "little")  # of the meta information behind it
    inflated_size(path, start + 12 + length, max(_USUAL, _RATIO * path.stat().st_size), "deflate")
