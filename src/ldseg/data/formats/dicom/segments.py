"""Names of segments in DICOM segmentations, and the codes of their category and type.

Codes come from a file (`segments.json`) or from DICOM's own list of anatomical structures, if a class has
the name of one ("liver"); any other class is coded as tissue, which fits most and misleads nobody.

    {"version": 1, "segments": {"liver": {
        "type": {"value": "10200004", "scheme": "SCT", "meaning": "Liver"},
        "category": {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"}}}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ldseg.data.formats.dicom.lazy_import import lazy_import
from ldseg.errors import InputError
from ldseg.utils.serialization import from_json, read_versioned

SEGMENTS_FILE = "segments.json"
_VERSION = 1
_STRUCTURES = "cid7192"  # context group "Anatomical Structure Segmentation Property Type"


@dataclass(frozen=True)
class Code:
    """A coded concept."""

    value: str
    """At most 16 characters."""
    scheme: str
    """Coding scheme designator, e.g. "SCT" (SNOMED CT)."""
    meaning: str
    """Meaning in words, at most 64 characters."""

    def __post_init__(self) -> None:
        lengths = {"value": 16, "scheme": 16, "meaning": 64}
        for name, longest in lengths.items():
            if not 0 < len(getattr(self, name)) <= longest:
                raise InputError(f"{name} is {getattr(self, name)!r}; give 1 to {longest} characters")


TISSUE = Code("85756007", "SCT", "Tissue")
STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")


@dataclass(frozen=True)
class SegmentCodes:
    """The codes of one class."""

    type: Code = TISSUE
    """Segmented Property Type: what it is."""
    category: Code = TISSUE
    """Segmented Property Category: what kind of thing that is."""


@dataclass(frozen=True)
class Segment:
    """A class of the label map as described in a segmentation."""

    id: int
    """Label id."""
    name: str
    codes: SegmentCodes = SegmentCodes()


@dataclass(frozen=True)
class _CodesFile:
    segments: dict[str, SegmentCodes] = field(default_factory=dict[str, SegmentCodes])


def read_codes(path: Path, classes: Mapping[str, int]) -> dict[str, SegmentCodes]:
    """Return class name to codes from a file, for some or all of `classes`.

    Raises InputError when the file is missing, damaged or newer, or names another class.
    """
    data = read_versioned(path, _VERSION, "write it as docs/dicom.md shows")
    found = from_json(_CodesFile, data, str(path)).segments
    strange = [name for name in found if name not in classes]
    if strange:
        known = ", ".join(classes)
        raise InputError(f"{path}: there is no class {strange[0]!r}; choose among {known}")
    return found


def segments_of(classes: Mapping[str, int], codes: Mapping[str, SegmentCodes]) -> tuple[Segment, ...]:
    """Return the segments for `classes` (name to id, without background) with their codes."""
    return tuple(
        Segment(number, name, codes.get(name) or known_codes(name))
        for name, number in classes.items()
        if number != 0
    )


def known_codes(name: str) -> SegmentCodes:
    """Return the codes of the anatomical structure of this name; tissue if DICOM lists none."""
    concepts = getattr(lazy_import("pydicom.sr.codedict").codes, _STRUCTURES)
    wanted = "".join(letter for letter in name.lower() if letter.isalnum())
    keywords = {keyword.lower(): keyword for keyword in concepts.dir()}
    if wanted not in keywords:
        return SegmentCodes()
    try:
        found = getattr(concepts, keywords[wanted])
    except AttributeError:  # one keyword in several coding schemes
        return SegmentCodes()
    return SegmentCodes(Code(found.value, found.scheme_designator, found.meaning), STRUCTURE)
