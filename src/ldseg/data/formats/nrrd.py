"""The geometry of a NRRD file as it stands in its header: lines of `field: value`, up to an empty line.

NRRD stores spacing times direction, and ITK takes the product apart and multiplies it again: the last bit
moves with each writing. So the vectors are carried over as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_HEADER_LIMIT = 1 << 20
_SPACES = ("space", "space dimension")
_VECTOR = re.compile(r"\([^)]*\)")


@dataclass(frozen=True)
class NrrdGeometry:
    """Parts of the header, as text."""

    space: str
    """The whole line that names the space or its dimension."""
    directions: tuple[str, ...]
    """A vector per index axis of space, fastest first, "(x,y,z)"."""
    origin: str


def read_geometry(path: Path) -> NrrdGeometry | None:
    """The header's geometry; None when it has no space."""
    with path.open("rb") as file:
        text = file.read(_HEADER_LIMIT)
    header = re.split(rb"\r?\n\r?\n", text, maxsplit=1)[0].decode("latin-1")
    fields = dict(re.findall(r"^([\w ]+): *(.*?)\r?$", header, flags=re.MULTILINE))
    name = next((field for field in _SPACES if field in fields), None)
    if name is None or not {"space directions", "space origin"} <= set(fields):
        return None
    vectors = tuple(_VECTOR.findall(fields["space directions"]))
    return NrrdGeometry(f"{name}: {fields[name]}", vectors, fields["space origin"])


def write_geometry(path: Path, geometry: NrrdGeometry) -> None:
    """Put `geometry` in the place of what the file says. It must describe the same grid."""
    header, voxels = path.read_bytes().split(b"\n\n", maxsplit=1)
    lines = header.decode("latin-1").split("\n")
    path.write_bytes(
        "\n".join(_replaced(line, geometry) for line in lines).encode("latin-1") + b"\n\n" + voxels
    )


def _replaced(line: str, geometry: NrrdGeometry) -> str:
    """One line of the header. "none" stays where ITK put the axis of channels."""
    if line.split(":")[0] in _SPACES:
        return geometry.space
    if line.startswith("space origin: "):
        return f"space origin: {geometry.origin}"
    if line.startswith("space directions: "):
        vectors = iter(geometry.directions)
        return _VECTOR.sub(lambda _: next(vectors), line)
    return line
