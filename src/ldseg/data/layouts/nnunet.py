"""nnU-Net v2 raw: `imagesTr/NAME_0000.nii.gz`, `labelsTr/NAME.nii.gz`, `dataset.json`; `imagesTs`."""

from __future__ import annotations

from pathlib import Path

from ldseg.data.faults import file_error
from ldseg.data.formats import stem
from ldseg.data.layouts.layout import Layout, Listing
from ldseg.data.names import Files, by_stem, complete_groups, suffix_groups, volumes_in
from ldseg.data.tables import read_description


def recognises(root: Path) -> bool:
    """The two folders say it; dataset.json may be missing."""
    return (root / "imagesTr").is_dir() and (root / "labelsTr").is_dir()


def read(root: Path) -> Listing:
    """See `Layout.read`."""
    description = read_description(root / "dataset.json")
    channels = None if description.channel_names is None else len(description.channel_names)
    images = _images(root / "imagesTr", channels)
    test = _images(root / "imagesTs", channels) if (root / "imagesTs").is_dir() else {}
    return Listing(images, by_stem(volumes_in(root / "labelsTr")), description, unlabelled=test)


def _images(folder: Path, channels: int | None) -> Files:
    """Images by name. Raises InputError for a file without the channel suffix."""
    paths = volumes_in(folder)
    if not paths:
        return {}
    groups = suffix_groups(paths)
    if groups is None:
        odd = next((path for path in paths if suffix_groups([path]) is None), paths[0])
        finding = f"case {stem(odd)} has no channel file _0000"
        raise file_error(odd, finding, f"name images NAME_0000{odd.suffix}, NAME_0001{odd.suffix} ...")
    return complete_groups(groups, channels or max(len(files) for files in groups.values()))


LAYOUT = Layout("nnunet", "imagesTr/ and labelsTr/ (nnU-Net)", recognises, read)
