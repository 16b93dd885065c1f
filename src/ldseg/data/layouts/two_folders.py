"""Layout of two folders with equal file names: `images/NAME.png` and `labels/NAME.png` (or `masks/`).

Several raters are `labels/NAME_rater1.png` ...; several channels `images/NAME_0000.nii.gz` ... A dataset.json
beside the folders may name classes, channels, "axes" and "ignore_id".
"""

from __future__ import annotations

from pathlib import Path

from ldseg.data.file_names import (
    Files,
    by_stem,
    complete_groups,
    counting_groups,
    name_key,
    rater_groups,
    volumes_in,
)
from ldseg.data.formats import is_colour, stem
from ldseg.data.layouts.layout import DatasetIndex, Layout
from ldseg.data.sidecar_metadata import read_description
from ldseg.data.unread import unread_in
from ldseg.errors import file_error

_IMAGES = ("images", "image", "imgs")
_LABELS = ("labels", "label", "masks", "mask", "annotations")


def matches(root: Path) -> bool:
    """Return whether there is a folder of images and at least one of masks."""
    return bool(_folders(root, _IMAGES)) and bool(_folders(root, _LABELS))


def read(root: Path) -> DatasetIndex:
    """See `Layout.read`."""
    folders = _only(root, _IMAGES), _only(root, _LABELS)
    images, labels = (volumes_in(folder) for folder in folders)
    return DatasetIndex(
        images=(grouped := _images(images, labels)),
        labels=rater_groups(labels, grouped),
        description=read_description(root / "dataset.json"),
        unread=tuple(one for folder in folders for one in unread_in(folder)),
    )


def _images(images: list[Path], labels: list[Path]) -> Files:
    """Return the images by name; `_0000` is a channel suffix only if the masks do not have it too.

    Nor is it a suffix if several colour files would be one image: colours are channels already.
    """
    groups = counting_groups(images)
    stems = {name_key(stem(path)) for path in images}
    if groups is None or stems & set(map(name_key, rater_groups(labels, (stem(path) for path in images)))):
        return by_stem(images)
    most = max(len(files) for files in groups.values())
    if most > 1 and any(is_colour(path) for path in images):
        return by_stem(images)
    return complete_groups(groups, most)


def _folders(root: Path, names: tuple[str, ...]) -> list[Path]:
    """Return the sub-folders with one of the names, regardless of letter case."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.name.lower() in names and path.is_dir())


def _only(root: Path, names: tuple[str, ...]) -> Path:
    """Return the single folder with one of these names. Raises InputError if there are several."""
    found = _folders(root, names)
    if len(found) != 1:
        finding = f"has {len(found)} folders named {' or '.join(names)}"
        raise file_error(root, finding, "keep one, or give a list of pairs (cases.csv)")
    return found[0]


LAYOUT = Layout("two_folders", "images/ and labels/ or masks/", matches, read)
