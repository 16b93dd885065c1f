"""Output path of `-o`: a folder to be created or, for one predicted image, its label file.

A name with a file's ending never becomes a folder: whoever gives it expects that file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ldseg.data.formats import all_endings, is_ending
from ldseg.errors import file_error
from ldseg.utils.serialization import check_writable

_OF_FILES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".webp", ".svg", ".pdf", ".html", ".htm", ".json", ".jsonl"),
    *(".csv", ".tsv", ".txt", ".md", ".yaml", ".yml", ".npy", ".npz", ".zip", ".gz", ".tar", ".pt", ".pth"),
    *(".onnx", ".safetensors", ".log"),
)
"""File endings other than those of image formats; such a name does not mean a folder."""


@dataclass(frozen=True)
class Destination:
    """An output folder and, for one image, the name of the label file in it."""

    folder: Path
    file: str | None = None

    @property
    def path(self) -> Path:
        """Path of the label file, else of the folder."""
        return self.folder if self.file is None else self.folder / self.file


def find_destination(output: Path, images: int, save: Sequence[str], form: str | None) -> Destination:
    """Return where the results of so many images go. A name with an image format's ending is the file of the
    labels, unless there is a folder of that name. `form` is the ending that was asked for.

    Raises:
        InputError: a file is named that cannot be what was asked for.
    """
    ending = image_ending(output)
    if output.is_dir():
        return Destination(output)
    if ending is None or not is_ending(ending):
        check_output_folder(output)
        return Destination(output)
    if images > 1:
        finding = f"is the name of one file, and there are {images} images"
        raise file_error(output, finding, "give a folder with -o; --format sets the ending of the files")
    if "labels" not in save:
        finding = "is the name of the labels' file, and --save leaves the labels out"
        raise file_error(output, finding, "add labels to --save, or give a folder with -o")
    if form is not None and form != ending:
        raise file_error(output, f"has another ending than --format {form}", "leave out --format")
    return Destination(output.parent, output.name)


def image_ending(path: Path) -> str | None:
    """Return the ending of an image format that a name has, in lower case; None for other names."""
    name = path.name.lower()
    found = [one for one in all_endings() if name.endswith(one) and name != one]
    return max(found, key=len, default=None)


def check_output_folder(output: Path) -> None:
    """Check before anything is computed that a folder of this name can be made or written into.

    Raises:
        InputError: the name has a file's ending, it or a folder above it is a file, or nothing may be written
            there.
    """
    name = output.name.lower()
    if not output.is_dir() and (name.endswith(_OF_FILES) or image_ending(output) is not None):
        raise file_error(
            output, "ends as a file of another kind than is written here", "give a folder's name with -o"
        )
    check_writable(output)
