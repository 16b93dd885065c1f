"""Layout of nnU-Net v2 raw: `imagesTr/NAME_0000.nii.gz`, `labelsTr/NAME.nii.gz`, `dataset.json`, `imagesTs`.

A dataset.json with "dataset" lists the files of each case itself, wherever they are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ldseg.data.file_names import (
    Files,
    by_stem,
    complete_groups,
    find_path,
    has_suffix,
    name_key,
    suffix_groups,
    volumes_in,
)
from ldseg.data.formats import all_endings, ending, is_volume, stem
from ldseg.data.layouts.layout import DatasetIndex, Layout
from ldseg.data.sidecar_metadata import Description, read_description
from ldseg.data.unread import Unread, unread_in
from ldseg.errors import InputError, file_error
from ldseg.utils.serialization import parse_json

_IMAGES, _LABELS, _TEST = "imagesTr", "labelsTr", "imagesTs"


def matches(root: Path) -> bool:
    """Return whether both folders exist (dataset.json is optional), or a dataset.json lists the files."""
    return ((root / _IMAGES).is_dir() and (root / _LABELS).is_dir()) or _lists_files(root / "dataset.json")


def read(root: Path) -> DatasetIndex:
    """See `Layout.read`."""
    table = root / "dataset.json"
    description = read_description(table)
    channels = None if description.channel_names is None else len(description.channel_names)
    wanted = _file_ending(description, table)
    unread: list[Unread] = []
    if isinstance(description.content.get("dataset"), dict):
        images, labels = _listed(root, description.content["dataset"], channels, table)
    else:
        labels = by_stem(_files(root / _LABELS, wanted, unread))
        images = _images(_files(root / _IMAGES, wanted, unread), channels, labels)
    test, fault = _test(root / _TEST, channels, wanted, unread)
    return DatasetIndex(
        images,
        labels,
        description,
        unlabelled=test,
        unlabelled_fault=fault,
        unread=tuple(unread),
        remarks=tuple(_remarks(description, wanted, images, labels)),
    )


def _lists_files(table: Path) -> bool:
    """Return whether a dataset.json has nnU-Net's key "dataset"."""
    if not table.is_file():
        return False
    try:
        content = parse_json(table)
    except (OSError, ValueError, RecursionError):
        return False  # damaged: the layout that fits the folders reports it
    cases = content.get("dataset") if isinstance(content, dict) else None
    return isinstance(cases, dict) and any(isinstance(c, dict) and "images" in c for c in cases.values())


def _file_ending(description: Description, table: Path) -> str | None:
    """Return the ending requested by "file_ending", or None."""
    entry = description.content.get("file_ending")
    if entry is None:
        return None
    wanted = f".{str(entry).lower().lstrip('.')}"
    if wanted not in all_endings():
        remedy = f"convert the files, and write one of {' '.join(all_endings())}"
        raise file_error(table, f'"file_ending" is {entry!r}, which is not read', remedy)
    return wanted


def _files(folder: Path, wanted: str | None, unread: list[Unread]) -> list[Path]:
    """Return the images in a folder; those of another ending than `wanted` are skipped, as in nnU-Net.

    If none has that ending, all are returned and `_remarks` reports it.
    """
    paths = volumes_in(folder)
    unread += unread_in(folder)
    found = [path for path in paths if ending(path) == wanted]
    if not found:
        return paths
    kind, remedy = f"of another ending than the file_ending {wanted}", "convert or remove it"
    unread += [Unread(path, kind, remedy) for path in paths if path not in found]
    return found


def _images(paths: Sequence[Path], channels: int | None, labels: Files) -> Files:
    """Return the images by name. Raises InputError for a file without the channel suffix.

    A name that equals a mask's has no suffix, even if it ends with four digits (`patient_0001`).
    """
    masks = {name_key(name) for name in labels}
    keys = [name_key(stem(path)) for path in paths]
    bare = {key for key in keys if key in masks and key.rpartition("_")[0] not in masks}
    odd = [path for path, key in zip(paths, keys, strict=True) if not has_suffix(path) or key in bare]
    if odd:
        kind, name = ending(odd[0]), stem(odd[0])
        others = f" ({len(odd)} files)" if len(odd) > 1 else ""
        remedy = f"rename it to {name}_0000{kind}; further channels are {name}_0001{kind} ..."
        raise file_error(odd[0], f"has no channel suffix _0000{others}", remedy)
    groups = suffix_groups(paths)
    return complete_groups(groups, channels or max((len(files) for files in groups.values()), default=1))


def _test(
    folder: Path, channels: int | None, wanted: str | None, unread: list[Unread]
) -> tuple[Files, InputError | None]:
    """Return the test images, or the error in them."""
    if not folder.is_dir():
        return {}, None
    try:
        return _images(_files(folder, wanted, unread), channels, {}), None
    except InputError as problem:
        return {}, problem


def _listed(root: Path, cases: dict[str, Any], channels: int | None, table: Path) -> tuple[Files, Files]:
    """Return images and masks listed in "dataset"; paths may contain environment variables."""
    images: Files = {}
    labels: Files = {}
    for name, entry in cases.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("images"), list) or not entry["images"]:
            remedy = 'write {"images": ["a_0000.nii.gz"], "label": "a.nii.gz"}'
            raise file_error(table, f'"dataset" has {entry!r} for case {name}', remedy)
        images[name] = tuple(_existing(root, path, table) for path in entry["images"])
        if channels is not None and len(images[name]) not in (1, channels):
            finding = f"lists {len(images[name])} images for case {name}, but names {channels} channels"
            raise file_error(table, finding, "list a file for each channel, or correct channel_names")
        if entry.get("label"):
            labels[name] = (_existing(root, entry["label"], table),)
    return images, labels


def _existing(root: Path, entry: Any, table: Path) -> Path:
    """Return the path of an entry. Raises InputError if it is not an existing image."""
    if not isinstance(entry, str) or not entry:
        raise file_error(table, f'"dataset" has {entry!r} where a file should be', "write a path")
    path = find_path(root / os.path.expandvars(entry))
    if not path.is_file() and not is_volume(path):
        raise file_error(
            path, f"is listed in {table.name} but is not there", "add the file or remove the entry"
        )
    return path


def _remarks(description: Description, wanted: str | None, images: Files, labels: Files) -> list[str]:
    """Return remarks about contradictions between dataset.json and the files."""
    found: list[str] = []
    for kind, files in (("image", images), ("mask", labels)):
        endings = sorted({ending(path) for paths in files.values() for path in paths})
        if wanted is not None and endings and wanted not in endings:
            found.append(
                f'dataset.json says "file_ending": "{wanted}", but every {kind} is {" or ".join(endings)}'
            )
    number = description.content.get("numTraining")
    if isinstance(number, int) and number != len(images):
        found.append(
            f'dataset.json says "numTraining": {number}, but there are {len(images)} images to train on'
        )
    reader = description.content.get("overwrite_image_reader_writer")
    if isinstance(reader, str) and not reader.startswith(
        ("SimpleITKIO", "NibabelIO", "NaturalImage2DIO", "Tiff3DIO")
    ):
        found.append(
            f"dataset.json asks for the reader {reader}, which is not used here: files are read by ending"
        )
    return found


LAYOUT = Layout("nnunet", "imagesTr/ and labelsTr/ (nnU-Net)", matches, read)
