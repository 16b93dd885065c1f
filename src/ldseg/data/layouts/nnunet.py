"""nnU-Net v2 raw: `imagesTr/NAME_0000.nii.gz`, `labelsTr/NAME.nii.gz`, `dataset.json`; `imagesTs`."""

from __future__ import annotations

from pathlib import Path

from ldseg.data.faults import file_error
from ldseg.data.formats import ending
from ldseg.data.layouts.layout import Layout, Listing
from ldseg.data.names import Files, by_stem, complete_groups, has_suffix, suffix_groups, volumes_in
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
    odd = next((path for path in paths if not has_suffix(path)), None)
    if odd is not None:
        kind = ending(odd)
        remedy = f"name the channels of an image NAME_0000{kind}, NAME_0001{kind} ..."
        raise file_error(odd, "has no channel suffix _0000", remedy)
    groups = suffix_groups(paths)
    return complete_groups(groups, channels or max((len(files) for files in groups.values()), default=1))


LAYOUT = Layout("nnunet", "imagesTr/ and labelsTr/ (nnU-Net)", recognises, read)
