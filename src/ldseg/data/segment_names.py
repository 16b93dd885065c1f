"""Segment names stored in label files; they define the classes if nothing else does.

3D Slicer and programs that write DICOM segmentations number the segments of each file separately, so one
structure may have different ids in different files. The name decides then.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ldseg.data.cases import DataSet
from ldseg.data.formats.dicom import DicomImage
from ldseg.data.formats.dtypes import ids_in, smallest_type
from ldseg.data.formats.itk import ItkHeader
from ldseg.data.volume import Volume
from ldseg.errors import file_error, listed

_REMEDY = "name the segments of all files alike, or say which id a name has, e.g. --classes liver=1,tumour=2"


def segment_names(label: Volume) -> dict[int, str]:
    """Return id to name of the segments named in the label's file; empty for most formats."""
    if isinstance(label.native, DicomImage):
        return {segment.id: segment.name for segment in label.native.segments}
    return dict(label.native.segments) if isinstance(label.native, ItkHeader) else {}


def map_ids_by_name(label: Volume, dataset: DataSet, path: Path) -> Volume:
    """Return `label` with its segments renumbered to the ids of the classes of the same names.

    If no segment has the name of a class, the ids stay. Raises InputError for `path` if only some have.
    """
    names = segment_names(label)
    ids = {number: dataset.classes[name] for number, name in names.items() if name in dataset.classes}
    if not ids or dataset.labels_above_zero or dataset.label_threshold is not None:
        return label
    if dataset.ignore_id is not None:
        ids.setdefault(dataset.ignore_id, dataset.ignore_id)
    strange = [number for number in ids_in(label.array) if number and number not in ids]
    if strange:
        called = f"a segment {names[strange[0]]!r}" if strange[0] in names else f"an id {strange[0]}"
        finding = f"has {called} that is none of the classes {listed(list(dataset.classes), 10)}"
        raise file_error(path, finding, "name its segments as the classes, or declare it in dataset.json")
    if all(number == own for number, own in ids.items()):
        return label
    array = np.zeros(label.array.shape, smallest_type(min(0, *ids.values()), max(ids.values())))
    for number, own in ids.items():
        array[label.array == number] = own
    return replace(label, array=array)


@dataclass
class LabelScan:
    """The ids in label files and the names of their segments."""

    ids: set[int] = field(default_factory=set[int])
    """Unnamed ids above 0."""
    named: dict[str, set[int]] = field(default_factory=lambda: defaultdict[str, set[int]](set))
    """Segment name to its ids in the files."""

    def add(self, label: Volume) -> None:
        """Add the ids of one label map; negative ids are left for the loader to reject."""
        names = segment_names(label)
        for number in ids_in(label.array):
            if number in names:
                self.named[names[number]].add(number)
            elif number > 0:
                self.ids.add(number)

    def classes(self, root: Path, ignore_id: int | None) -> dict[str, int]:
        """Return class name to id, background first; unnamed ids are called class_ID.

        Raises InputError for `root` when a name has several ids and there are ids without a name.
        """
        self.ids -= {ignore_id} if ignore_id is not None else set()
        numbers = {name: min(ids) for name, ids in self.named.items()}
        clash = any(len(ids) > 1 for ids in self.named.values()) or len(set(numbers.values())) < len(numbers)
        if clash and self.ids:
            ids = listed(sorted(self.ids))
            finding = f"has masks whose segments of one name have several ids, and ids without a name ({ids})"
            raise file_error(root, finding, _REMEDY)
        if clash:
            numbers = {name: number for number, name in enumerate(sorted(numbers), start=1)}
        numbers.update({f"class_{number}": number for number in self.ids - set(numbers.values())})
        ordered = sorted(numbers.items(), key=lambda pair: pair[1])
        return {"background": 0} | {name: number for name, number in ordered if number != ignore_id}
