"""Import pydicom and highdicom (extra `dicom`) on first use, and read data sets."""

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
"""Attributes that are repeated in the meta information."""
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_USUAL, _RATIO = 2**26, 16
"""Allowed decompressed size of a deflated data set in bytes, or relative to its file; twice is refused."""


def lazy_import(name: str) -> Any:
    """Return the module `name`. Raises InputError with installation instructions if it is missing."""
    try:
        return import_module(name)
    except ImportError as problem:
        package = name.partition(".")[0]
        raise InputError(
            f'{package} is missing, which DICOM needs; install it with pip install "ldseg[dicom]"'
        ) from problem


@contextmanager
def translate_dicom_errors(path: Path) -> Generator[None, None, None]:
    """Translate pydicom's errors into an InputError for `path`."""
    with translate_errors(path, "DICOM"):
        yield


def read_dataset(path: Path, pixels: bool = False) -> Any:
    """Return the data set of a file, without pixels by default. Raises InputError for a damaged file.

    A file without preamble, meta information or transfer syntax is read by the encoding of its first element.
    """
    pydicom = lazy_import("pydicom")
    with translate_dicom_errors(path):
        with path.open("rb") as file:
            head = file.read(_META_LIMIT)
        _refuse_decompression_bomb(path, head)
        bare = not has_preamble(head) and starts_with_elements(head)
        dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, force=bare)
        _complete_meta(dataset)
    if "SOPClassUID" not in dataset:
        raise file_error(path, "is DICOM without a SOP class", "export it again")
    return dataset


def _complete_meta(dataset: Any) -> None:
    """Copy missing UIDs from the meta information to the data set, and add a missing transfer syntax."""
    meta = dataset.file_meta
    for name, own in _SAME.items():
        if not dataset.get(name) and meta.get(own):
            setattr(dataset, name, meta.get(own))
    if not meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        uid = lazy_import("pydicom.uid")
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit


def _refuse_decompression_bomb(path: Path, head: bytes) -> None:
    """Raise ValueError for a deflated data set that is far too large, as pydicom decompresses it whole."""
    if _DEFLATED not in head:
        return
    start = 132 if has_preamble(head) else 0
    length = int.from_bytes(head[start + 8 : start + 12], "little")  # of the following meta information
    inflated_size(path, start + 12 + length, max(_USUAL, _RATIO * path.stat().st_size), "deflate")
