"""Read metadata files beside the images: `dataset.json` and spacing tables."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ldseg.data.volume import Axes
from ldseg.errors import file_error
from ldseg.utils.serialization import parse_json

CLASSES_FILE = "classes.json"
"""Names of the classes of a plain folder: {"liver": 1}, or {"1": "liver"}."""
SPACING_TABLES = ("spacing.csv", "pixel_size_mm.csv")


@dataclass(frozen=True)
class Description:
    """The contents of a dataset.json; None for entries that it lacks."""

    channel_names: tuple[str, ...] | None = None
    classes: dict[str, int] | None = None
    ignore_id: int | None = None
    axes: Axes | None = None
    content: dict[str, Any] = field(default_factory=dict[str, Any])
    """The whole JSON object."""


def read_description(path: Path) -> Description:
    """Return the contents of a dataset.json of nnU-Net, the Decathlon or ldseg; empty if the file is missing.

    Classes that it does not name may stand in a classes.json beside it. Raises InputError when a file is
    damaged, its entries have the wrong type, or both name the classes.
    """
    names = path.with_name(CLASSES_FILE)
    if names.is_file():
        return _with_classes(_read_description(path), names)
    return _read_description(path)


def _read_description(path: Path) -> Description:
    """Return the contents of a dataset.json as `read_description`, without a classes.json beside it."""
    if not path.is_file():
        return Description()
    content = read_json(path)
    if not isinstance(content, dict):
        raise file_error(path, "is not a JSON object", 'write {"labels": {"background": 0, "liver": 1}}')
    channels = content.get("channel_names", content.get("modality"))
    classes, ignored = parse_classes(content["labels"], path) if "labels" in content else (None, None)
    axes = content.get("axes")
    if axes not in (None, "yx", "zyx", "tyx"):
        raise file_error(path, f'"axes" is {axes!r}', "choose yx, zyx or tyx")
    ignore_id = content.get("ignore_id", ignored)
    if ignore_id is not None and (not isinstance(ignore_id, int) or isinstance(ignore_id, bool)):
        raise file_error(path, f'"ignore_id" is {ignore_id!r}', "write a whole number, e.g. 255")
    if ignore_id == 0:
        finding = '"ignore_id" is 0, the background, where what is marked by mistake has to count'
        raise file_error(path, finding, "give unlabelled voxels an id of their own, e.g. 255")
    return Description(
        channel_names=None if channels is None else _channel_names(channels, path),
        classes=classes,
        ignore_id=ignore_id,
        axes=axes,
        content=content,
    )


def _with_classes(description: Description, path: Path) -> Description:
    """Return the description with the classes of a classes.json."""
    classes, ignored = parse_classes(read_json(path), path, "it")
    if description.classes not in (None, classes):
        raise file_error(path, "names other classes than dataset.json", "remove one of the two")
    ignore_id = ignored if description.ignore_id is None else description.ignore_id
    content = {**description.content, "labels": classes}
    return replace(description, classes=classes, ignore_id=ignore_id, content=content)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises InputError with the line of the syntax error."""
    try:
        return parse_json(path)
    except (OSError, ValueError, RecursionError) as problem:
        raise file_error(path, f"is not readable as JSON ({problem})", "correct or remove it") from problem


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table with a header (comma, semicolon or tab); column names in lower case."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise file_error(path, f"is not readable as text ({problem})", "save it as CSV in UTF-8") from problem
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        raise file_error(path, "has no rows below a header", "add a row per case")
    separator = max(",;\t", key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=separator))
    header = [column.strip().lower() for column in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) > len(header):
            raise file_error(
                path, f"row {number} has {len(row)} cells below {len(header)} columns", "correct it"
            )
    return [dict(zip(header, [cell.strip() for cell in row], strict=False)) for row in rows[1:]]


def read_spacings(folder: Path) -> dict[str, tuple[float, ...]]:
    """Return file name to spacing in mm from the table in `folder`; empty if there is none.

    The first column is the file's name, the others one number for all axes or one per axis in their order.
    Raises InputError when the table is damaged.
    """
    tables = [folder / name for name in SPACING_TABLES if (folder / name).is_file()]
    if not tables:
        return {}
    found: dict[str, tuple[float, ...]] = {}
    for row in read_rows(tables[0]):
        name, *cells = row.values()
        found[name] = parse_spacing(" ".join(cells), tables[0])
    return found


def parse_spacing(text: str, path: Path) -> tuple[float, ...]:
    """Return positive numbers separated by blanks, "x" or commas. Raises InputError for `path` otherwise."""
    cells = text.replace("x", " ").replace(",", " ").split()
    try:
        steps = tuple(float(cell) for cell in cells)
    except ValueError:
        steps = ()
    if not steps or not all(math.isfinite(step) and step > 0 for step in steps):
        raise file_error(
            path, f"spacing {text!r} is not a list of numbers above 0", "give mm, e.g. 0.5 or 3 0.7 0.7"
        )
    return steps


def _channel_names(entry: Any, path: Path) -> tuple[str, ...]:
    """Return channel names from a list of names or an object of number to name."""
    if isinstance(entry, list) and entry:
        return tuple(str(name) for name in entry)
    if isinstance(entry, dict) and entry and all(str(key).isdigit() for key in entry):
        return tuple(str(entry[key]) for key in sorted(entry, key=int))
    raise file_error(
        path, "its channel names are neither a list nor numbered", 'write {"0": "T1", "1": "T2"}'
    )


def parse_classes(entry: Any, path: Path | str, key: str = '"labels"') -> tuple[dict[str, int], int | None]:
    """Return class name to id, background first, and the id of "ignore".

    Both {"liver": 1} and {"1": "liver"} are in use. Raises InputError for `path`, whose entry `key` it is.
    """
    if not isinstance(entry, dict) or not entry:
        raise file_error(path, f"{key} is not an object", 'write {"background": 0, "liver": 1}')
    pairs: list[tuple[str, int]] = []
    for name, value in entry.items():
        if isinstance(value, list):
            if len(value) != 1:
                finding = f"{key} has the region {str(name)!r} of the ids {value}"
                remedy = "list every id once as a class of its own, and join predicted ids afterwards"
                raise file_error(path, f"{finding}; regions that overlap are not supported", remedy)
            value = value[0]
        if isinstance(value, int) and not isinstance(value, bool):
            pairs.append((str(name), value))
        elif str(name).lstrip("-").isdigit():
            pairs.append((str(value), int(name)))
        else:
            raise file_error(
                path, f"{key} has no whole number in {name!r}: {value!r}", "give each class an id"
            )
    ignored = [number for name, number in pairs if name.lower() == "ignore"]
    pairs = [(name, number) for name, number in pairs if name.lower() != "ignore"]
    names, numbers = [name for name, _ in pairs], [number for _, number in pairs]
    if min(numbers, default=0) < 0:
        remedy = 'give classes ids above 0, and call what nobody labelled "ignore"'
        raise file_error(path, f"{key} has a negative id ({min(numbers)})", remedy)
    if len(set(names)) < len(names) or len(set(numbers)) < len(numbers):
        raise file_error(
            path, f"{key} has a name or an id twice", "give each class a name and an id of its own"
        )
    if 0 not in numbers:
        if "background" in names:
            raise file_error(path, '"background" has another id than 0', "give the background id 0")
        pairs.append(("background", 0))
    return dict(sorted(pairs, key=lambda pair: (pair[1] != 0, pair[1]))), ignored[0] if ignored else None
