"""The interface of a file format: a name, its endings, a function that reads and one that writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ldseg.data.volume import Axes, Kind, Volume


@dataclass(frozen=True)
class Format:
    """A family of file formats."""

    name: str
    """Name in messages."""
    endings: tuple[str, ...]
    """Lower case, with the dot."""
    read: Callable[[Path, Kind, Axes | None], Volume]
    """Return the decoded file: (M, *S) in its own number type. `kind` only matters for palettes."""
    write: Callable[[Path, Volume], None]
    """Write a volume. Raises FileError if the format cannot hold it, OSError if writing fails."""
    has_geometry: bool
    """Whether files always store spacing, origin and direction."""
    is_colour: Callable[[Path], bool] | None = None
    """Return whether the header declares colour channels; None for volume formats."""
    check: Callable[[Path, Volume], None] | None = None
    """Raise FileError if no label map of the image can be written; None for formats that hold any."""
    data_file: Callable[[Path], Path] | None = None
    """Return the file that holds the voxels of a header, maybe itself; None for formats of one file. Raises
    OSError or ValueError for a damaged header."""
