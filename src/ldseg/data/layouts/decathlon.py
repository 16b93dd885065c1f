"""Layout of the Medical Segmentation Decathlon: `dataset.json` lists "training" pairs and "test" images.

Images of several channels are 4D files. The files of nnU-Net v1 (`imagesTr/NAME_0000.nii.gz` behind the entry
`imagesTr/NAME.nii.gz`) are found too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ldseg.data.file_names import Files, complete_groups, find_path, name_key, suffix_groups
from ldseg.data.formats import ending, stem
from ldseg.data.layouts.layout import DatasetIndex, Layout
from ldseg.data.sidecar_metadata import read_description
from ldseg.data.unread import unread_in
from ldseg.errors import file_error
from ldseg.utils.serialization import parse_json


def matches(root: Path) -> bool:
    """Return whether there is a dataset.json with a list of pairs."""
    path = root / "dataset.json"
    if not path.is_file():
        return False
    try:
        content = parse_json(path)
    except (OSError, ValueError, RecursionError):
        return False  # damaged: the layout that fits the folders reports it
    pairs = content.get("training") if isinstance(content, dict) else None
    return (
        isinstance(pairs, list) and bool(pairs) and all(isinstance(p, dict) and "image" in p for p in pairs)
    )


def read(root: Path) -> DatasetIndex:
    """See `Layout.read`."""
    table = root / "dataset.json"
    description = read_description(table)
    channels = len(description.channel_names) if description.channel_names else None
    images: Files = {}
    labels: Files = {}
    for pair in _entries(description.content, "training", table):
        if not isinstance(pair, dict):
            raise file_error(table, f'has {pair!r} in "training"', 'write {"image": "..", "label": ".."}')
        image = _path(root, pair.get("image"), table)
        name = stem(image)
        if name in images:
            raise file_error(table, f"lists case {name} twice", "remove one of the two entries")
        images[name] = _image_files(image, channels)
        if pair.get("label"):
            labels[name] = (_existing(_path(root, pair["label"], table), table),)
    test: Files = {}
    for entry in _entries(description.content, "test", table):
        image = _path(root, entry.get("image") if isinstance(entry, dict) else entry, table)
        if image.parent.is_dir():  # the training part alone is often what people have
            test[stem(image)] = _image_files(image, channels)
    named = {path for files in (*images.values(), *labels.values()) for path in files}
    folders = sorted({path.parent for path in named})
    unread = tuple(one for folder in folders if folder != root for one in unread_in(folder))
    return DatasetIndex(images, labels, description, unlabelled=test, unread=unread)


def _entries(content: dict[str, Any], name: str, table: Path) -> list[Any]:
    """Return a list of the description, empty if missing. Raises InputError if it is not a list."""
    found = content.get(name, [])
    if not isinstance(found, list):
        raise file_error(table, f'"{name}" is no list', "list the images in it, or leave it out")
    return found


def _path(root: Path, entry: Any, table: Path) -> Path:
    """Return the path of an entry, relative to the data set's folder."""
    if not isinstance(entry, str) or not entry:
        raise file_error(
            table, f"has {entry!r} where a file should be", "write a path relative to dataset.json"
        )
    return root / entry


def _image_files(image: Path, channels: int | None) -> tuple[Path, ...]:
    """Return the image file itself, or its `_0000` ... channel files."""
    image = find_path(image)
    if image.is_file() or image.is_symlink():
        return (image,)
    part = re.compile(rf"{re.escape(name_key(stem(image)))}_\d{{4}}{re.escape(ending(image))}")
    inside = sorted(image.parent.iterdir()) if image.parent.is_dir() else []
    parts = [path for path in inside if part.fullmatch(name_key(path.name))]
    if not parts:
        raise file_error(
            image, "is listed in dataset.json but is not there", "add the file or remove the entry"
        )
    (files,) = complete_groups(suffix_groups(parts), channels or len(parts)).values()
    return files


def _existing(path: Path, table: Path) -> Path:
    """Return `path`. Raises InputError if it is not a file."""
    found = find_path(path)
    if not found.is_file() and not found.is_symlink():
        raise file_error(
            path, f"is listed in {table.name} but is not there", "add the file or remove the entry"
        )
    return found


LAYOUT = Layout("decathlon", 'dataset.json with a list "training" (Decathlon)', matches, read)
