"""Data set layouts: one module and one entry in `LAYOUTS` each. The first that matches a folder reads it."""

from __future__ import annotations

from pathlib import Path

from ldseg.data.layouts import case_folders, decathlon, glas, nnunet, pairs, two_folders
from ldseg.data.layouts.layout import DatasetIndex, Layout
from ldseg.errors import InputError, file_error

__all__ = ["LAYOUTS", "DatasetIndex", "Layout", "find_layout", "layout_named"]

# A list written by hand comes first; the least specific pattern comes last.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        pairs.LAYOUT,
        decathlon.LAYOUT,
        nnunet.LAYOUT,
        two_folders.LAYOUT,
        glas.LAYOUT,
        case_folders.LAYOUT,
    )
}


def find_layout(root: Path) -> Layout | None:
    """Return the layout of a folder or list, or None."""
    return next((layout for layout in LAYOUTS.values() if layout.matches(root)), None)


def layout_named(name: str | None, root: Path) -> Layout:
    """Return the layout of this name; None detects it. Raises InputError if there is none."""
    if name is not None:
        if name not in LAYOUTS:
            raise InputError(f"data.layout is {name!r}; choose one of {', '.join(LAYOUTS)}")
        return LAYOUTS[name]
    if not root.exists():
        raise file_error(root, "there is no such folder", "check the path")
    found = find_layout(root)
    if found is None:
        known = "; ".join(layout.looks_like for layout in LAYOUTS.values())
        raise file_error(root, "is no data set of a known layout", f"arrange it as one of: {known}")
    return found
