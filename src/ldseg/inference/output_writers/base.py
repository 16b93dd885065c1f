"""The interface of an output writer: what writes the maps of a prediction, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from ldseg.data.volume import Volume
from ldseg.planning.plan import Plan


class OutputWriter(ABC):
    """Writes label maps and, if it can, maps of numbers (probabilities, uncertainty)."""

    label_ending: str
    """Ending of the files of label maps, with the dot."""
    number_ending: str | None
    """Ending of the files of maps of numbers; None if it writes label maps only."""

    @abstractmethod
    def write(self, path: Path, volume: Volume) -> None:
        """Write one map to `path`, whose ending is one of the two above.

        The file appears under its final name once it is complete. Label maps, `volume.kind` "labels", are
        (1, *S) with the ids of the plan's `classes`; maps of numbers are float32 (M, *S). Raises FileError if
        the file cannot hold the volume, OSError if writing fails.
        """

    def check(self, image: Volume, source: Path) -> None:
        """Raise InputError naming `source` if no label map of `image` can be written; called before the
        labels are computed."""
        del image, source


BuildOutputWriter = Callable[[Plan], OutputWriter]
"""What a name in `--format` stands for: a function of the model's plan (classes, axes), such as a class."""
