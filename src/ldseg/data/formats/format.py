"""What a file format is to the project: a name, its endings, a function that reads and one that writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ldseg.data.volume import Axes, Kind, Volume


@dataclass(frozen=True)
class Format:
    """One family of file formats."""

    name: str
    """For people, in messages."""
    endings: tuple[str, ...]
    """Lower case, with the dot."""
    read: Callable[[Path, Kind, Axes | None], Volume]
    """Decode a file: (M, *S) in the file's own number type. `kind` only says how to take palettes."""
    write: Callable[[Path, Volume], None]
    """Encode a volume. Raises FileError when the format cannot hold it, OSError when the disk refuses."""
    has_geometry: bool
    """Whether files always say where their voxels are."""
    is_colour: Callable[[Path], bool] | None = None
    """Look at the header for colour channels; None for formats that are no pictures."""
    check: Callable[[Path, Volume], None] | None = None
    """Raise FileError where no label map of the image could be written; None for formats that hold any."""
