"""Find the images to predict in files, folders of files and data sets of any layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
    """Return the images at `paths` as cases without labels, ascending by name.

    `channels`, `axes` and `channel_files` are those of the model: they decide whether `NAME_0000`,
    `NAME_0001` ... are one image (`ldseg.data.channels`). A data set gives all its images, including its
    test images. DICOM is also found in sub-folders; `axes` says what makes an image there: a series, a cine
    or a file. `on_remark` gets a sentence for what was skipped. Raises InputError for a missing file, empty
    folder, a missing channel, or two images of one name.
    """
    if not paths:
        raise InputError("no input was given; give an image, a folder of images or a data set")
    given = list(dict.fromkeys(header_of(find_path(Path(path))) for path in paths))
    files = [path for path in given if _is_file(path)]
    dicom_files = [path for path in files if format_of(path) is dicom.DICOM]
    other_files = [path for path in files if format_of(path) is not dicom.DICOM]
    model_input = _ModelInput(channels, axes, channel_files)
    found = _Inputs()
    series = dicom.images_of(dicom_files, axes)
    for group in (model_input.group(other_files), Grouping(_alone(series.images))):
        found.add(group)
    for remark in dicom.describe_skipped(series.skipped):
        on_remark(remark)
    for folder in (path for path in given if not _is_file(path)):
        found.add(_in_folder(folder, model_input, on_remark))
    return [found.case(name, axes) for name in sorted(found.files)]


@dataclass(frozen=True)
class _Inputs:
    """The images that have been found."""

    files: Files = field(default_factory=dict[str, tuple[Path, ...]])
    notes: dict[str, str] = field(default_factory=dict[str, str])
    """Image to how its channels were determined, where that is ambiguous."""
    spacings: dict[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """Image to the spacing that its data set gives."""

    def add(self, more: Grouping) -> None:
        """Add the images of `more`. Raises InputError for a duplicate name in any Unicode spelling."""
        known = {name_key(name): name for name in self.files}
        for given, files in more.files.items():
            name = known.get(name_key(given), given)
            other = self.files.get(name, files)
            if list(map(realpath, other)) != list(map(realpath, files)):  # a link may be circular
                finding = f"has the same name as {other[0]}"
                raise file_error(files[0], finding, "predict them in two runs, or rename one")
            self.files[name] = files
            if more.note:
                self.notes[name] = more.note
            if given in more.spacings:
                self.spacings[name] = more.spacings[given]

    def case(self, name: str, axes: Axes | None) -> Case:
        """Return an image as a case; `axes` are those of the model."""
        files, note = self.files[name], self.notes.get(name, "")
        check_name(name, files[0])
        steps = self.spacings.get(name) or spacing_of_files(files)
        if steps is not None and axes is None:
            axes = "yx" if len(steps) < 3 else "zyx"
        spacing = spacing_per_axis(steps, axes, files[0]) if steps and axes else None
        return Case(name, files, (), name, spacing, (note,) if note else ())


@dataclass(frozen=True)
class _ModelInput:
    """The channels and axes that the model expects."""

    channels: int
    axes: Axes | None
    channel_files: bool | None

    def group(self, paths: Sequence[Path]) -> Grouping:
        """Return the files of each image."""
        return group_inputs(paths, self.channels, self.axes, self.channel_files)


def _is_file(path: Path) -> bool:
    """Return True for an image, False for a folder or a list of pairs. Raises InputError otherwise."""
    refuse_dangling(path)
    if not path.exists():
        raise file_error(path, "there is no such file or folder", "check the path")
    if path.is_dir() or path.suffix.lower() in (".csv", ".tsv", ".json"):
        return False
    if not path.is_file():  # reading a pipe would block
        raise file_error(path, "is no file", "check the path")
    return bool(ending(path))


def _in_folder(folder: Path, model_input: _ModelInput, on_remark: OnRemark) -> Grouping:
    """Return the images of a data set or of a plain folder."""
    layout = find_layout(folder)
    skipped: tuple[dicom.SkippedFiles, ...] = ()
    if layout is not None:
        found, unread = _in_layout(layout, folder, model_input)
    elif folder.is_dir():
        files = [path for path in volumes_in(folder) if format_of(path) is not dicom.DICOM]
        labels = [path for path in files if ending(path) == SEGMENTATION_ENDING]
        found = model_input.group([path for path in files if path not in labels])
        unread = (*unread_in(folder), *(Unread(path, _SEGMENTATION, "give its image") for path in labels))
        below = dicom.images_below(folder, model_input.axes)
        found = replace(found, files=_together(found, Grouping(_alone(below.images))))
        skipped = below.skipped
        for remark in below.remarks:
            on_remark(remark)
    else:
        raise file_error(folder, "is neither an image nor a folder of images", "check the path")
    if found.files:
        # What is found another way, such as a DICOM series some folders below, is not reported.
        places = {path for files in found.files.values() for path in files}
        places |= {parent for path in places for parent in path.parents}
        others = [one for one in unread if one.path not in places]
        for remark in (*describe_unread(others), *dicom.describe_skipped(skipped)):
            on_remark(remark)
        return found
    if skipped:
        kinds = listed(list(dict.fromkeys(one.why for one in skipped)))
        raise file_error(folder, f"holds DICOM but no image, only {kinds}", "give the folder of the images")
    inner = folder.is_dir() and any(is_volume(path) for path in folder.rglob("*"))
    remedy = "give one of its sub-folders" if inner else "give a folder with images"
    other = "".join(f" ({remark})" for remark in describe_unread(unread))
    raise file_error(folder, f"has no images directly in it{other}", remedy)


def _in_layout(layout: Layout, folder: Path, model_input: _ModelInput) -> tuple[Grouping, Sequence[Unread]]:
    """Return all images of a data set, and the files in its folders that are not read."""
    index = layout.read(folder)
    if index.unlabelled_fault is not None:
        raise index.unlabelled_fault
    found = Grouping(dict(index.images))
    if layout is two_folders.LAYOUT and not index.labels:  # masks would say which files are channels
        found = model_input.group([path for files in index.images.values() for path in files])
    files, root = _together(found, Grouping(index.unlabelled)), folder if folder.is_dir() else folder.parent
    steps = {name: index.spacings.get(name) or spacing_of_files(files[name], root) for name in files}
    spacings = {name: spacing for name, spacing in steps.items() if spacing is not None}
    return Grouping(files, found.note, spacings), index.unread


def _together(*groups: Grouping) -> Files:
    """Return the images of all `groups`. Raises InputError for a duplicate name."""
    found = _Inputs()
    for group in groups:
        found.add(group)
    return found.files


def _alone(images: dict[str, Path]) -> Files:
    """Return the images with their single path as a tuple."""
    return {name: (path,) for name, path in images.items()}
