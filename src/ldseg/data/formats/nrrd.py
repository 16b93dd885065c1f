"""Verify NRRD files, and carry over their geometry as text.

A header has lines of `field: value` (and `key:=value`, without geometry), up to an empty line. NRRD
stores spacing times direction, and ITK factorizes and multiplies it again, which changes the last bit
with each writing. So the vectors are carried over as text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path

from ldseg.data.formats.decompress import inflated_size
from ldseg.errors import file_error
from ldseg.utils.system import require_memory

_HEADER_LIMIT = 1 << 20
_SPACES = ("space", "space dimension")
_OTHER_LENGTHS = re.compile(
    r"nm|[u\u00b5\u03bc]m|cm|dm|m|km|in|inch(es)?|ft|microns?|(nano|micro|centi)?met(er|re)s?", re.IGNORECASE
)
_VECTOR = re.compile(r"\([^)]*\)")
_MOST_SKIPPED = 1 << 12  # lines
_MOST_CHANNELS = 1 << 12
_TYPES = {
    1: "signed char|int8|int8_t|uchar|unsigned char|uint8|uint8_t",
    2: "short|short int|signed short|signed short int|int16|int16_t|ushort|unsigned short|unsigned short int"
    "|uint16|uint16_t",
    4: "int|signed int|int32|int32_t|uint|unsigned int|uint32|uint32_t|float",
    8: "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t|ulonglong"
    "|unsigned long long|unsigned long long int|uint64|uint64_t|double",
}
_BYTES = {name: size for size, names in _TYPES.items() for name in names.split("|")}
_PACKED = {"gzip": "zlib", "gz": "zlib", "bzip2": "bzip2", "bz2": "bzip2"}
_WORDS = {"ascii": 2, "text": 2, "txt": 2, "hex": 2}
"""Minimum number of characters per voxel, or per byte of one."""


@dataclass(frozen=True)
class NrrdGeometry:
    """The geometry fields of the header, as text."""

    space: str
    """The whole line that gives the space or its dimension."""
    directions: tuple[str, ...]
    """One vector per spatial index axis, fastest first, "(x,y,z)"."""
    origin: str


def verify_integrity(path: Path) -> None:
    """Raise ValueError for an inconsistent header or missing voxels, InputError for a lack of memory."""
    fields, start = _fields(path)
    sizes = _check_fields(fields)
    if fields["type"] not in _BYTES:
        raise ValueError(f"its type is {fields['type']}")
    each = _BYTES[fields["type"]]
    require_memory(path, prod(sizes), 2 * each)
    data = path
    if "data file" in fields:
        name = fields["data file"]
        data, start = path.parent / name, 0
        if name.split(" ")[0] == "LIST" or "%" in name:
            raise ValueError("its voxels are in several files")
        if not data.is_file():
            raise ValueError(f"its data file {name} is missing")
    expected, encoding = prod(sizes) * each, fields["encoding"].lower()
    if encoding in _PACKED:
        found = inflated_size(data, start, expected, _PACKED[encoding])
    elif encoding == "raw":
        found = data.stat().st_size - (start if data == path else 0)
    elif encoding in _WORDS:
        expected = prod(sizes) * (each if encoding == "hex" else 1) * _WORDS[encoding] - 1
        found = data.stat().st_size - start
    else:
        raise ValueError(f"its encoding is {encoding}")
    if found < expected:
        raise ValueError(f"{found} of {expected} bytes of voxels are there")


def data_file(path: Path) -> Path:
    """See `Format.data_file`."""
    fields, _ = _fields(path)
    return path.parent / fields["data file"] if "data file" in fields else path


def read_geometry(path: Path) -> NrrdGeometry | None:
    """Return the header's geometry, or None if it has no space fields."""
    fields, _ = _fields(path)
    name = next((field for field in _SPACES if field in fields), None)
    if name is None or not {"space directions", "space origin"} <= set(fields):
        return None
    vectors = tuple(_VECTOR.findall(fields["space directions"]))
    return NrrdGeometry(f"{name}: {fields[name]}", vectors, fields["space origin"])


def write_geometry(path: Path, geometry: NrrdGeometry) -> None:
    """Replace the geometry in the file by `geometry`, which must describe the same grid."""
    header, voxels = path.read_bytes().split(b"\n\n", maxsplit=1)
    lines = header.decode("latin-1").split("\n")
    path.write_bytes(
        "\n".join(_replaced(line, geometry) for line in lines).encode("latin-1") + b"\n\n" + voxels
    )


def key_values(path: Path) -> dict[str, str]:
    """Return the header's key-value pairs (`key:=value`)."""
    lines, _, _ = _lines(path)
    pairs = [line.split(":=", maxsplit=1) for line in lines if ":=" in line and not line.startswith("#")]
    return {pair[0]: pair[1] for pair in pairs}


def has_spacing(path: Path) -> bool:
    """Return whether the header gives a voxel size. Raises InputError if its unit is not mm."""
    fields, _ = _fields(path)
    units = re.findall(r'"([^"]*)"', f"{fields.get('space units', '')} {fields.get('units', '')}")
    other = next((unit for unit in units if _OTHER_LENGTHS.fullmatch(unit.strip())), None)
    if other is not None:
        raise file_error(path, f"its lengths are in {other} and not in mm", "write its geometry in mm")
    spacings = [float(value) for value in fields.get("spacings", "").split()]
    return "(" in fields.get("space directions", "") or any(map(math.isfinite, spacings))


def _lines(path: Path) -> tuple[list[str], int, bool]:
    """Return the lines of the header, the offset of the voxels, and whether the header is complete."""
    with path.open("rb") as file:
        text = file.read(_HEADER_LIMIT)
    if not re.match(rb"NRRD000[1-6]\r?\n", text):
        raise ValueError("it does not begin like a NRRD")
    end = re.search(rb"\r?\n\r?\n", text)
    header = (text[: end.start()] if end else text).decode("utf-8", "surrogateescape")
    return re.split(r"\r?\n", header)[1:], end.end() if end else len(text), end is not None


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields by name, and the offset of the voxels. Raises ValueError for an invalid header."""
    lines, start, whole = _lines(path)
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if not colon or line.startswith("#") or ":=" in name:
            continue
        if name in found:
            raise ValueError(f"it has two fields {name}")
        found[{"datafile": "data file"}.get(name, name)] = value.strip()
    for name in ("dimension", "sizes", "type", "encoding"):
        if name not in found:
            raise ValueError(f"its header has no field {name}")
    if not whole and "data file" not in found:
        raise ValueError("its header is incomplete")
    return found, start


def _check_fields(fields: dict[str, str]) -> list[int]:
    """Return the size along each axis. Raises ValueError for headers that ITK cannot read or crashes on."""
    axes = int(fields["dimension"])
    sizes = [int(n) for n in fields["sizes"].split()]
    if not 2 <= axes <= 5 or len(sizes) != axes or min(sizes) <= 0:
        raise ValueError(f"its sizes are {fields['sizes']} in {axes} dimensions")
    line_skip, byte_skip = int(fields.get("line skip", 0)), int(fields.get("byte skip", 0))
    if not 0 <= line_skip <= _MOST_SKIPPED or byte_skip < -1:
        raise ValueError(f"it skips {line_skip} lines and {byte_skip} bytes")
    kinds = fields.get("kinds", "domain").split()
    if prod(n for n, kind in zip(sizes, kinds, strict=False) if kind not in ("domain", "space", "time")) > (
        _MOST_CHANNELS
    ):
        raise ValueError(f"its kinds are {fields['kinds']}")
    directions = re.findall(r"none|\([^)]*\)", fields.get("space directions", "none " * axes))
    if len(directions) != axes:
        raise ValueError(f"its space directions are {fields['space directions']}")
    vectors = [*directions, fields.get("space origin", "none")]
    if len({len(_numbers(vector)) for vector in vectors if vector != "none"}) > 1:
        raise ValueError("its vectors are of different lengths")
    for name in ("spacings", "thicknesses"):
        if any(float(value) == 0 for value in fields.get(name, "").split()):
            raise ValueError(f"its {name} are {fields[name]}")
    return sizes


def _numbers(vector: str) -> list[float]:
    """Return the numbers of a vector "(x,y,z)". Raises ValueError if one is not finite."""
    numbers = [float(part) for part in vector.strip("()").split(",")]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"it has a vector {vector}")
    return numbers


def _replaced(line: str, geometry: NrrdGeometry) -> str:
    """Return a header line with its geometry replaced; "none" stays where ITK put the channel axis."""
    if line.split(":")[0] in _SPACES:
        return geometry.space
    if line.startswith("space origin: "):
        return f"space origin: {geometry.origin}"
    if line.startswith("space directions: "):
        vectors = iter(geometry.directions)
        return _VECTOR.sub(lambda _: next(vectors), line)
    return line
