"""The geometry of a NRRD file as it stands in its header.

NRRD stores spacing times direction, and ITK takes the product apart and multiplies it again: the last bit
moves with each writing. So the vectors are carried over as text. Header: lines of `field: value`, an empty line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_HEADER_LIMIT = 1 << 20
_VECTOR = re.compile(r"\([^)]*\)")


@dataclass(frozen=True)
class NrrdGeometry:
    """The values of three fields, as text."""

    space: str
    directions: tuple[str, ...]
    """A vector per index axis of space, fastest first, "(x,y,z)"."""
    origin: str


def read_geometry(path: Path) -> NrrdGeometry | None:
    """The header's geometry; None when it has no named space."""
    with path.open("rb") as file:
        text = file.read(_HEADER_LIMIT)
    header = re.split(rb"\r?\n\r?\n", text, maxsplit=1)[0].decode("latin-1")
    fields = dict(re.findall(r"^([\w ]+): *(.*?)\r?$", header, flags=re.MULTILINE))
    if not {"space", "space directions", "space origin"} <= set(fields):
        return None
    return NrrdGeometry(
        fields["space"], tuple(_VECTOR.findall(fields["space directions"])), fields["space origin"]
    )


def write_geometry(path: Path, geometry: NrrdGeometry) -> None:
    """Put `geometry` in the place of what the file says. It must describe the same grid."""
    header, voxels = path.read_bytes().split(b"\n\n", maxsplit=1)
    lines = header.decode("latin-1").split("\n")
    path.write_bytes(
        "\n".join(_replaced(line, geometry) for line in lines).encode("latin-1") + b"\n\n" + voxels
    )


def _replaced(line: str, geometry: NrrdGeometry) -> str:
    """One line of the header. "none" stays where ITK put the axis of channels."""
    if line.startswith("space: "):
        return f"space: {geometry.space}"
    if line.startswith("space origin: "):
        return f"space origin: {geometry.origin}"
    if line.startswith("space directions: "):
        vectors = iter(geometry.directions)
        return _VECTOR.sub(lambda _: next(vectors), line)
    return line
