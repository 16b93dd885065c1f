"""The interface of a layout: a way to arrange images and masks in folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ldseg.data.file_names import Files
from ldseg.data.sidecar_metadata import Description
from ldseg.data.unread import Unread
from ldseg.errors import InputError


@dataclass(frozen=True)
class DatasetIndex:
    """The files of a data set as a layout finds them; `open_dataset` pairs images and masks by name."""

    images: Files
    """Case name to image files (one, or one per channel)."""
    labels: Files
    """Case name to mask files (one per rater)."""
    description: Description = field(default_factory=Description)
    """The contents of dataset.json."""
    subjects: dict[str, str] = field(default_factory=dict[str, str])
    """Case name to subject, if the layout defines it."""
    spacings: dict[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """Case name to spacing, if the layout defines it."""
    unlabelled: Files = field(default_factory=dict[str, tuple[Path, ...]])
    """Images without masks, for prediction only (imagesTs)."""
    unlabelled_fault: InputError | None = None
    """Error in those images; it does not affect training."""
    unread: tuple[Unread, ...] = ()
    """Files that look like images or masks but are not read."""
    remarks: tuple[str, ...] = ()
    """Remarks about the data set for the user, one sentence each."""


@dataclass(frozen=True)
class Layout:
    """A way to arrange a data set."""

    name: str
    """Name in options and messages."""
    looks_like: str
    """Short description for the error that no layout matches."""
    matches: Callable[[Path], bool]
    """Return whether a folder (or file) has this layout, judged by names only."""
    read: Callable[[Path], DatasetIndex]
    """Return the files of the data set. Raises InputError for inconsistent names."""
