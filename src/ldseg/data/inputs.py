"""The images to predict: files, folders of files, data sets of any layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import realpath
from pathlib import Path

from ldseg.data.cases import Case
from ldseg.data.channels import Grouping, group_inputs
from ldseg.data.file_names import Files, check_name, find_path, name_key, volumes_in
from ldseg.data.formats import dicom, ending, format_of, is_volume, refuse_dangling
from ldseg.data.formats.itk import SEGMENTATION_ENDING
from ldseg.data.layouts import Layout, find_layout, two_folders
from ldseg.data.sidecar_spacing import spacing_of_files, spacing_per_axis
from ldseg.data.unread import OnRemark, Unread, describe_unread, header_of, ignore_remark, unread_in
from ldseg.data.volume import Axes
from ldseg.errors import InputError, file_error, listed

_SEGMENTATION = "a segmentation and no image"


def find_inputs(
    paths: Sequence[Path],
    channels: int,
    axes: Axes | None = None,
    channel_files: bool | None = None,
    on_remark: OnRemark = ignore_remark,
) -> list[Case]:
    """The images at `paths`, without labels, ascending by name.

    `channels`, `axes` and `channel_files` are those of the model: they decide whether `NAME_0000`,
    `NAME_0001` ... are one image (`ldseg.data.channels`). A data set gives all its images, those to test on
    too. DICOM is looked for in sub-folders too; `axes` says what makes an image there: a series, a film or a
    file. `on_remark` gets a sentence for what was passed over. Raises InputError for a missing file, an empty
    folder, a channel that is missing, or two images of one name.
    """
    if not paths:
        raise InputError("no input was given; give an image, a folder of images or a data set")
    given = list(dict.fromkeys(header_of(find_path(Path(path))) for path in paths))
    files = [path for path in given if _is_file(path)]
    slices = [path for path in files if format_of(path) is dicom.DICOM]
    pictures = [path for path in files if path not in slices]
    takes = _Takes(channels, axes, channel_files)
    found: Files = {}
    notes: dict[str, str] = {}
    of_slices = dicom.images_of(slices, axes)
    for group in (takes.group(pictures), Grouping(_alone(of_slices.images))):
        _add(found, notes, group)
    for remark in dicom.in_words(of_slices.passed):
        on_remark(remark)
    for folder in (path for path in given if not _is_file(path)):
        _add(found, notes, _in_folder(folder, takes, on_remark))
    return [_case(name, found[name], axes, notes.get(name, "")) for name in sorted(found)]


@dataclass(frozen=True)
class _Takes:
    """What the model takes."""

    channels: int
    axes: Axes | None
    channel_files: bool | None

    def group(self, paths: Sequence[Path]) -> Grouping:
        """The files of each image."""
        return group_inputs(paths, self.channels, self.axes, self.channel_files)


def _is_file(path: Path) -> bool:
    """True for an image, False for a folder or a list of pairs. Raises InputError for anything else."""
    refuse_dangling(path)
    if not path.exists():
        raise file_error(path, "there is no such file or folder", "check the path")
    if path.is_dir() or path.suffix.lower() in (".csv", ".tsv", ".json"):
        return False
    if not path.is_file():  # a pipe, which would be waited for
        raise file_error(path, "is no file", "check the path")
    return bool(ending(path))


def _in_folder(folder: Path, takes: _Takes, on_remark: OnRemark) -> Grouping:
    """The images of a data set or of a plain folder."""
    layout = find_layout(folder)
    passed: tuple[dicom.PassedOver, ...] = ()
    if layout is not None:
        found, unread = _in_layout(layout, folder, takes)
    elif folder.is_dir():
        files = [path for path in volumes_in(folder) if format_of(path) is not dicom.DICOM]
        labels = [path for path in files if ending(path) == SEGMENTATION_ENDING]
        found = takes.group([path for path in files if path not in labels])
        unread = (*unread_in(folder), *(Unread(path, _SEGMENTATION, "give its image") for path in labels))
        below = dicom.images_below(folder, takes.axes)
        _add(found.files, {}, Grouping(_alone(below.images)))
        passed = below.passed
    else:
        raise file_error(folder, "is neither an image nor a folder of images", "check the path")
    if found.files:
        for remark in (*describe_unread(_not_among(unread, found.files)), *dicom.in_words(passed)):
            on_remark(remark)
        return found
    if passed:
        kinds = listed(list(dict.fromkeys(one.why for one in passed)))
        raise file_error(folder, f"holds DICOM but no image, only {kinds}", "give the folder of the images")
    inner = folder.is_dir() and any(is_volume(path) for path in folder.rglob("*"))
    remedy = "give one of its sub-folders" if inner else "give a folder with images"
    other = "".join(f" ({remark})" for remark in describe_unread(unread))
    raise file_error(folder, f"has no images directly in it{other}", remedy)


def _in_layout(layout: Layout, folder: Path, takes: _Takes) -> tuple[Grouping, Sequence[Unread]]:
    """All images of a data set, and what its folders hold beside them."""
    index = layout.read(folder)
    if index.unlabelled_fault is not None:
        raise index.unlabelled_fault
    found = Grouping(dict(index.images))
    if layout is two_folders.LAYOUT and not index.labels:  # masks would say which files are channels
        found = takes.group([path for files in index.images.values() for path in files])
    _add(found.files, {}, Grouping(index.unlabelled))
    return found, index.unread


def _not_among(unread: Sequence[Unread], found: Files) -> list[Unread]:
    """Those that are not found another way, as a DICOM series some folders below is."""
    places = {path for files in found.values() for path in files}
    places |= {folder for path in places for folder in path.parents}
    return [one for one in unread if one.path not in places]


def _alone(images: dict[str, Path]) -> Files:
    """Images of one path each."""
    return {name: (path,) for name, path in images.items()}


def _add(found: Files, notes: dict[str, str], more: Grouping) -> None:
    """Put `more` to `found` and `notes`. Raises InputError when a name comes twice, in whatever spelling."""
    known = {name_key(name): name for name in found}
    for name, files in more.files.items():
        name = known.get(name_key(name), name)
        other = found.get(name, files)
        if list(map(realpath, other)) != list(map(realpath, files)):  # a link may lead in a circle
            finding = f"has the same name as {other[0]}"
            raise file_error(files[0], finding, "predict them in two runs, or rename one")
        found[name] = files
        if more.note:
            notes[name] = more.note


def _case(name: str, files: tuple[Path, ...], axes: Axes | None, note: str) -> Case:
    check_name(name, files[0])
    steps = spacing_of_files(files)
    if steps is not None and axes is None:
        axes = "yx" if len(steps) < 3 else "zyx"
    spacing = spacing_per_axis(steps, axes, files[0]) if steps and axes else None
    return Case(name, files, (), name, spacing, (note,) if note else ())
