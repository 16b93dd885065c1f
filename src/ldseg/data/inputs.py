"""The images to predict: files, folders of files, data sets of any layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ldseg.data.cases import Case
from ldseg.data.faults import file_error
from ldseg.data.formats import dicom, ending, format_of, is_volume
from ldseg.data.layouts import find_layout
from ldseg.data.names import Files, channel_groups, check_name, volumes_in
from ldseg.data.spacings import expand, spacing_of
from ldseg.data.volumes import Axes
from ldseg.errors import InputError


def find_inputs(paths: Sequence[Path], channels: int, axes: Axes | None = None) -> list[Case]:
    """The images at `paths`, without labels, ascending by name.

    `channels` is what the model takes: `NAME_0000`, `NAME_0001` ... are one image when there are that many. A
    data set gives all its images, those to test on too. DICOM is looked for in sub-folders too; `axes` says
    what makes an image there: a series, a film or a file. Raises InputError for a missing file, an empty
    folder, a channel that is missing, or two images of one name.
    """
    if not paths:
        raise InputError("no input was given; give an image, a folder of images or a data set")
    given = list(dict.fromkeys(Path(path) for path in paths))
    files = [path for path in given if _is_file(path)]
    slices = [path for path in files if format_of(path) is dicom.DICOM]
    found = channel_groups([path for path in files if path not in slices], channels)
    _add(found, _alone(dicom.images_of(slices, axes)))
    for folder in (path for path in given if not _is_file(path)):
        _add(found, _in_folder(folder, channels, axes))
    return [_case(name, found[name], axes) for name in sorted(found)]


def _is_file(path: Path) -> bool:
    """True for an image, False for a folder or a list of pairs. Raises InputError for anything else."""
    if not path.exists():
        raise file_error(path, "there is no such file or folder", "check the path")
    if path.is_dir() or path.suffix.lower() in (".csv", ".tsv", ".json"):
        return False
    if not path.is_file():  # a pipe, which would be waited for
        raise file_error(path, "is no file", "check the path")
    return bool(ending(path))


def _in_folder(folder: Path, channels: int, axes: Axes | None) -> Files:
    """The images of a data set or of a plain folder."""
    layout = find_layout(folder)
    if layout is not None:
        listing = layout.read(folder)
        found = dict(listing.images)
        _add(found, listing.unlabelled)
    elif folder.is_dir():
        files = [path for path in volumes_in(folder) if format_of(path) is not dicom.DICOM]
        found = channel_groups(files, channels)
        _add(found, _alone(dicom.images_below(folder, axes)))
    else:
        found = {}
    if found:
        return found
    if folder.is_dir():
        inner = sum(1 for path in folder.rglob("*") if is_volume(path))
        remedy = "give one of its sub-folders" if inner else "give a folder with images"
        raise file_error(folder, "has no images directly in it", remedy)
    raise file_error(folder, "is neither an image nor a folder of images", "check the path")


def _alone(images: dict[str, Path]) -> Files:
    """Images of one path each."""
    return {name: (path,) for name, path in images.items()}


def _add(found: Files, more: Files) -> None:
    """Put `more` to `found`. Raises InputError when a name comes twice."""
    for name, files in more.items():
        known = found.get(name, files)
        if [path.resolve() for path in known] != [path.resolve() for path in files]:
            finding = f"has the same name as {known[0]}"
            raise file_error(files[0], finding, "predict them in two runs, or rename one")
        found[name] = files


def _case(name: str, files: tuple[Path, ...], axes: Axes | None) -> Case:
    check_name(name, files[0])
    steps = spacing_of(files[0])
    if steps is not None and axes is None:
        axes = "yx" if len(steps) < 3 else "zyx"
    return Case(name, files, (), name, expand(steps, axes, files[0]) if steps and axes else None)
