"""Read segmentations of 3D Slicer (`.seg.nrrd`): one label map, or several layers if segments overlap.

Segment n is described by the header's `Segmentn_Name`, `Segmentn_LabelValue` and `Segmentn_Layer`. Files of
older versions have one layer per segment and neither value nor layer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.formats import nrrd
from ldseg.data.formats.dtypes import smallest_type
from ldseg.errors import file_error

_KEY = re.compile(r"Segment(\d+)_(Name|ID|LabelValue|Layer)")


@dataclass(frozen=True)
class Segment:
    """A segment as the header describes it."""

    name: str
    value: int
    """Value of its voxels in its layer."""
    layer: int


def read_segments(path: Path) -> tuple[Segment, ...]:
    """Return the segments that a NRRD header describes, in order. Raises ValueError for damaged ones."""
    found: dict[int, dict[str, str]] = {}
    for key, value in nrrd.key_values(path).items():
        match = _KEY.fullmatch(key)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = value
    old = any("LabelValue" not in fields for fields in found.values())
    segments: list[Segment] = []
    for number, fields in sorted(found.items()):
        name = fields.get("Name") or fields.get("ID") or f"Segment_{number + 1}"
        value = 1 if old else int(fields["LabelValue"])
        segments.append(Segment(name.strip(), value, int(fields.get("Layer", number if old else 0))))
    return tuple(segments)


def merge_layers(
    array: NDArray[Any], segments: tuple[Segment, ...], path: Path
) -> tuple[NDArray[Any], dict[int, str]]:
    """Return label ids (1, *S) and their names from the values of all layers (layers, *S).

    Ids are the values if these are distinct, else segments are numbered from 1. Raises InputError for `path`
    when segments overlap, or a voxel belongs to none.
    """
    values = [segment.value for segment in segments]
    if len(array) == 1 and len(set(values)) == len(values):
        return array, {segment.value: segment.name for segment in segments}
    ids = values if len(set(values)) == len(values) else list(range(1, len(values) + 1))
    merged = np.zeros((1, *array.shape[1:]), smallest_type(min(ids), max(ids)))
    described = 0
    for number, segment in zip(ids, segments, strict=True):
        if not 0 <= segment.layer < len(array):
            finding = f"has no layer {segment.layer} of segment {segment.name!r} among its {len(array)}"
            raise file_error(path, finding, "save the segmentation again")
        own = array[segment.layer] == segment.value
        common = int(np.count_nonzero(merged[0][own]))
        if common:
            finding = f"has segments that overlap ({segment.name!r} in {common} voxels)"
            raise file_error(
                path, finding, "save one label map without overlap, e.g. exported from 3D Slicer"
            )
        merged[0][own] = number
        described += int(np.count_nonzero(own))
    if described != int(np.count_nonzero(array)):
        finding = f"has {int(np.count_nonzero(array)) - described} voxels that belong to no segment"
        raise file_error(path, finding, "save the segmentation again")
    return merged, {number: segment.name for number, segment in zip(ids, segments, strict=True)}
