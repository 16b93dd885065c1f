"""What a layout is: a way people arrange images and masks in folders."""

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
    """What a layout finds. Images and masks are paired by name later, in one place for all layouts."""

    images: Files
    """Case name to image files (one, or one per channel)."""
    labels: Files
    """Case name to mask files (one per rater)."""
    description: Description = field(default_factory=Description)
    """What dataset.json says."""
    subjects: dict[str, str] = field(default_factory=dict[str, str])
    """Case name to subject, where the layout says it."""
    spacings: dict[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """Case name to spacing, where the layout says it."""
    unlabelled: Files = field(default_factory=dict[str, tuple[Path, ...]])
    """Images that are only there to be predicted (imagesTs)."""
    unlabelled_fault: InputError | None = None
    """What is wrong with those; it matters to nobody who trains."""
    unread: tuple[Unread, ...] = ()
    """What looks like an image or a mask and was passed over."""
    remarks: tuple[str, ...] = ()
    """What a person should know of the set, a sentence each."""


@dataclass(frozen=True)
class Layout:
    """One way to arrange a data set."""

    name: str
    """For options and messages."""
    looks_like: str
    """What a person would call it, for the message that none fits."""
    matches: Callable[[Path], bool]
    """Whether a folder (or file) has this layout. Looks at names only."""
    read: Callable[[Path], DatasetIndex]
    """List it. Raises InputError for what contradicts itself."""
