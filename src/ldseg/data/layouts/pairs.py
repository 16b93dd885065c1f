"""Layout of a list of pairs: `cases.csv` or `cases.json` (or `pairs.*`), or any such file given by its path.

CSV columns: image, image2 ... (channels), label, label2 ... (raters), name, subject, spacing (mm, "0.5" or
"3 0.7 0.7"). JSON: a list of objects with the same keys, where "image" and "label" may be lists. Paths are
relative to the list.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ldseg.data.file_names import Files, find_path, name_key
from ldseg.data.formats import is_volume, stem
from ldseg.data.layouts.layout import DatasetIndex, Layout
from ldseg.data.sidecar_metadata import parse_spacing, read_description, read_json, read_rows
from ldseg.errors import file_error

_NAMES = ("cases.csv", "cases.json", "pairs.csv", "pairs.json")
_KEYS = re.compile(r"^(image\d*|label\d*|name|subject|spacing)$")


def matches(root: Path) -> bool:
    """Return whether the path is a list, or a folder with a list of a known name."""
    return _table(root) is not None


def read(root: Path) -> DatasetIndex:
    """See `Layout.read`."""
    table = _table(root)
    if table is None:
        raise file_error(
            root, f"has no list of pairs ({' or '.join(_NAMES)})", "add one or choose another layout"
        )
    images: Files = {}
    labels: Files = {}
    subjects: dict[str, str] = {}
    spacings: dict[str, tuple[float, ...]] = {}
    for number, row in enumerate(_rows(table), start=1):
        files = _files(row, "image", table)
        if not files:
            raise file_error(table, f"entry {number} has no image", "fill its column image")
        name = str(row.get("name") or stem(files[0]))
        if {"/", "\\", "\0"} & set(name) or name in (".", ".."):
            raise file_error(
                table, f"has the name {name!r}, which is none of a file", "leave out its folders"
            )
        if name_key(name) in {name_key(known) for known in images}:
            raise file_error(
                table, f"has case {name} twice", "give each case a name of its own in column name"
            )
        images[name] = files
        if masks := _files(row, "label", table):
            labels[name] = masks
        if row.get("subject"):
            subjects[name] = str(row["subject"])
        if row.get("spacing"):
            steps = row["spacing"] if isinstance(row["spacing"], list) else [row["spacing"]]
            spacings[name] = parse_spacing(" ".join(map(str, steps)), table)
    return DatasetIndex(images, labels, read_description(table.parent / "dataset.json"), subjects, spacings)


def _table(root: Path) -> Path | None:
    """Return the list at a path or in a folder, or None."""
    if root.is_file() and root.suffix.lower() in (".csv", ".tsv", ".json"):
        return root
    return next((root / name for name in _NAMES if (root / name).is_file()), None)


def _rows(table: Path) -> list[dict[str, Any]]:
    """Return the entries. Raises InputError for unknown columns, so that a misspelled one is not ignored."""
    if table.suffix.lower() != ".json":
        rows: list[dict[str, Any]] = [dict(row) for row in read_rows(table)]
    else:
        content = read_json(table)
        if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
            raise file_error(
                table, "is not a list of objects", 'write [{"image": "a.png", "label": "b.png"}]'
            )
        rows = content
    unknown = sorted({key for row in rows for key in row if not _KEYS.match(key)})
    if unknown or not any("image" in row for row in rows):
        finding = f"has unknown columns {', '.join(unknown)}" if unknown else "has no column image"
        raise file_error(table, finding, "use image, image2, label, label2, name, subject, spacing")
    return rows


def _files(row: dict[str, Any], key: str, table: Path) -> tuple[Path, ...]:
    """Return the existing files of the columns `image`, `image2` ... in their order."""
    columns = sorted((k for k in row if re.fullmatch(rf"{key}\d*", k)), key=lambda k: int(k[len(key) :] or 1))
    entries: list[Any] = []
    for column in columns:
        value = row[column]
        entries += value if isinstance(value, list) else [value]
    paths = tuple(find_path(table.parent / str(entry)) for entry in entries if entry)
    for path in paths:
        if not path.is_file() and not is_volume(path):  # a DICOM series is a folder
            raise file_error(
                path, f"is listed in {table.name} but is not there", "correct the path in the list"
            )
    return paths


LAYOUT = Layout("pairs", "cases.csv or cases.json", matches, read)
