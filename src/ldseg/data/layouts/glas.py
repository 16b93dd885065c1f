"""Layout of GlaS: images `train_1.bmp` and masks `train_1_anno.bmp` in one folder."""

from __future__ import annotations

from pathlib import Path

from ldseg.data.file_names import by_stem, volumes_in
from ldseg.data.formats import stem
from ldseg.data.layouts.layout import DatasetIndex, Layout
from ldseg.data.sidecar_metadata import read_description
from ldseg.data.unread import unread_in

_SUFFIX = "_anno"


def matches(root: Path) -> bool:
    """Return whether any file has the suffix of masks."""
    return root.is_dir() and any(stem(path).endswith(_SUFFIX) for path in volumes_in(root))


def read(root: Path) -> DatasetIndex:
    """See `Layout.read`."""
    paths = volumes_in(root)
    masks = by_stem(path for path in paths if stem(path).endswith(_SUFFIX))
    images = by_stem(path for path in paths if not stem(path).endswith(_SUFFIX))
    labels = {name.removesuffix(_SUFFIX): files for name, files in masks.items()}
    description = read_description(root / "dataset.json")
    return DatasetIndex(images, labels, description, unread=unread_in(root, folders=False))


LAYOUT = Layout("glas", "NAME.bmp beside NAME_anno.bmp (GlaS)", matches, read)
