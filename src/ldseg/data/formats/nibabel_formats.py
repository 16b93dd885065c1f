"""The formats that nibabel reads: NIfTI, Analyze and MGH.

nibabel imports pydicom and more, which takes time that a command spends only on such files: a
format's module, and nibabel with it, is imported when the first file is read or written.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ldseg.data.formats.format import Format


def _on_first_use(module: str, function: str) -> Callable[..., Any]:
    """Return a function that imports a module of this folder and calls its `function`."""

    def call(*arguments: Any) -> Any:
        found = import_module(f"ldseg.data.formats.{module}")
        return getattr(found, function)(*arguments)

    return call


NIFTI = Format(
    "NIfTI",
    (".nii.gz", ".nii"),
    _on_first_use("nifti", "read"),
    _on_first_use("nifti", "write"),
    has_geometry=True,
)
ANALYZE = Format(
    "Analyze or NIfTI",
    (".hdr",),
    _on_first_use("analyze", "read"),
    _on_first_use("analyze", "refuse"),
    has_geometry=True,
    data_file=_on_first_use("analyze", "data_file"),
)
MGH = Format(
    "MGH",
    (".mgz", ".mgh"),
    _on_first_use("mgh", "read"),
    _on_first_use("mgh", "write"),
    has_geometry=True,
)
