"""Layout with a folder per case, with an image and one mask per rater: `7/image_8.jpg`, `7/label0_.jpg` ...

Case folders may lie one or two levels deep; a case is named after its folder, with the level above in front
where there is one (`training_7`), because numbers start again in each.
"""

from __future__ import annotations

import re
from pathlib import Path

from ldseg.data.channels import group_inputs
from ldseg.data.file_names import Files, volumes_in
from ldseg.data.formats import stem
from ldseg.data.layouts.layout import DatasetIndex, Layout
from ldseg.data.sidecar_metadata import read_description
from ldseg.data.unread import Unread, unread_in
from ldseg.errors import file_error

_IMAGE = re.compile(r"^image(_|$)", re.IGNORECASE)
_LABEL = re.compile(r"^(?:label|mask)_?(\d*)_?$", re.IGNORECASE)


def matches(root: Path) -> bool:
    """Return whether any folder holds an image and a mask."""
    for folder in _folders(root):
        stems = [stem(path) for path in volumes_in(folder)]
        if any(map(_IMAGE.match, stems)) and any(map(_LABEL.match, stems)):
            return True
    return False


def read(root: Path) -> DatasetIndex:
    """See `Layout.read`."""
    images: Files = {}
    labels: Files = {}
    unread: list[Unread] = []
    for folder in _folders(root):
        unread += unread_in(folder, folders=False)
        files = volumes_in(folder)
        if not files:
            if all(path.name.startswith(".") for path in folder.iterdir()):
                unread.append(
                    Unread(folder, "an empty folder", "fill it with its image and masks, or remove it")
                )
            continue
        name = "_".join(folder.relative_to(root).parts)
        own = [path for path in files if _IMAGE.match(stem(path))]
        masks = [path for path in files if _LABEL.match(stem(path))]
        if own:
            images[name] = _one_image(folder, own)
        if masks:
            labels[name] = tuple(sorted(masks, key=_rater_number))
    return DatasetIndex(images, labels, read_description(root / "dataset.json"), unread=tuple(unread))


def _folders(root: Path) -> list[Path]:
    """Return the visible folders one and two levels below `root`."""
    if not root.is_dir():
        return []
    found = [path for pattern in ("*", "*/*") for path in root.glob(pattern) if path.is_dir()]
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts))


def _one_image(folder: Path, files: list[Path]) -> tuple[Path, ...]:
    """Return the files of the single image in a case's folder. Raises InputError if there are several."""
    groups = group_inputs(files, len(files), channel_files=True).files
    if len(groups) != 1:
        finding = f"has {len(groups)} images and one was expected"
        raise file_error(
            folder, finding, "keep one image_* a folder, or image_0000, image_0001 ... for channels"
        )
    return next(iter(groups.values()))


def _rater_number(path: Path) -> int:
    """Return the rater's number in a mask's name, or 0."""
    match = _LABEL.match(stem(path))
    return int(match[1]) if match and match[1] else 0


LAYOUT = Layout("case_folders", "a folder per case with image_* and label0_*, label1_* ...", matches, read)
