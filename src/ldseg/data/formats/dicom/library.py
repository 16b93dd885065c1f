"""pydicom and highdicom, which come with the extra `dicom`, imported where they are first needed."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ldseg.data.faults import decoding, file_error
from ldseg.errors import InputError


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
    """One line for what pydicom raises at `path`, and no lines for what it only mutters about."""
    with decoding(path, "DICOM"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_dataset(path: Path, pixels: bool = False) -> Any:
    """The data set in a file, without its pixels unless they are wanted. Raises InputError."""
    pydicom = library("pydicom")
    with reading(path):
        dataset = pydicom.dcmread(path, stop_before_pixels=not pixels)
    if "SOPClassUID" not in dataset:
        raise file_error(path, "is DICOM without a SOP class", "export it again")
    return dataset
