"""Type-checked conversion between frozen dataclasses and JSON, and atomic file writes.

Supported field types: int, float, str, bool, None, Literal, unions, dict[str, X], tuple[X, ...] and
dataclasses of these. Values are never coerced: 1.5 is no int, "1" no number. A field is stored under
its name, or under the key in its metadata: `field(metadata={"key": ...})`.

The decoder is our own because no library refuses what it refuses: msgspec ignores unknown fields of
dataclasses, has no stored keys, and its errors name neither the value nor the key within a dict; pydantic has
no stored keys either.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import sys
import tempfile
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ldseg.errors import InputError, file_error

Record = TypeVar("Record")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_STAGED_NAME = 24
_STAGED = re.compile(r"\..+\.[a-z0-9_]{8}")
"""The prefix and the suffix of `tempfile`."""
_LARGEST_JSON = 2**28
_LARGEST_FLOAT = sys.float_info.max
_LONGEST_VALUE = 120  # of a message
_PLAIN = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null"}


def to_json(value: Any) -> Any:
    """Return a dataclass and everything in it as dicts, lists and plain values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {stored_key(field): to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in cast(dict[str, Any], value).items()}
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in cast("tuple[Any, ...]", value)]
    return value


def stored_key(field: Field[Any]) -> str:
    """Return the key of a dataclass's field in JSON."""
    return field.metadata.get("key", field.name)


def from_json(kind: type[Record], data: Any, where: str, name: str = "") -> Record:
    """Return the dataclass `kind` from the output of `to_json`; missing fields take their defaults.

    `where` begins each message, e.g. the file's name; `name` is the path of the record in what it is a part
    of. Raises InputError for a wrong type, an unknown field, a missing field without default, and for values
    that the dataclass itself refuses.
    """
    return cast(Record, _decode(kind, data, where, name))


def with_changes(record: Record, changes: dict[str, Any], where: str) -> Record:
    """Return `record` with the fields in `changes` (nested dicts) replaced. Raises InputError."""
    return from_json(type(record), _merged(record, changes), where)


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Return the object in a JSON file. Raises InputError with `remedy` if it is missing or damaged."""
    if not path.is_file():
        finding = "is a folder where a file is expected" if path.is_dir() else "there is no such file"
        raise InputError(f"{path}: {finding}; {remedy}")
    try:
        data = parse_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); {remedy}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: is not a JSON object; {remedy}")
    return cast(dict[str, Any], data)


def parse_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises OSError, ValueError or RecursionError for invalid JSON and for numbers that are nan or infinite.
    """
    if path.stat().st_size > _LARGEST_JSON:
        raise ValueError(f"it is larger than {_LARGEST_JSON} bytes")
    text = path.read_text(encoding="utf-8-sig")
    return json.loads(text, parse_constant=_finite_number, parse_float=_finite_number)


def read_versioned(path: Path, version: int, remedy: str, oldest: int = 1) -> dict[str, Any]:
    """Return the object in a JSON file without its "version", which must be `oldest` to `version`."""
    data = read_json(path, remedy)
    found = data.pop("version", None)
    if not isinstance(found, int):
        raise InputError(f"{path}: has no version number; {remedy}")
    if found > version:
        raise InputError(
            f"{path}: is of version {found}, this ldseg knows up to {version}; update ldseg, or {remedy}"
        )
    if found < oldest:
        raise InputError(f"{path}: was written by an earlier version of ldseg; {remedy}")
    return data


def check_writable(folder: Path, option: str = "-o") -> None:
    """Check before anything is computed that `folder`, which `option` gave, can be made or written into.

    Raises:
        InputError: it or a folder above it is a file, or nothing may be written there.
    """
    place = next((one for one in (folder, *folder.parents) if one.exists()), None)
    if place is not None and not place.is_dir():
        raise file_error(place, "is a file, where a folder is needed", f"choose another folder with {option}")
    if place is not None and not os.access(place, os.W_OK):
        remedy = f"check its rights, or choose another folder with {option}"
        raise file_error(place, "nothing may be written there", remedy)


def write_json_atomic(path: Path, data: Any) -> None:
    """Write dicts, lists, plain values and dataclasses as JSON. Raises InputError if that fails."""
    text = format_json(to_json(data)) + "\n"
    # A name that is not in UTF-8 becomes an escape of JSON, which is read back as the same name.
    write_bytes_atomic(path, text.encode("utf-8", "backslashreplace"))


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write a temporary file and rename it, so that readers see the old file or the new one, never a part.

    Creates the folder. Raises InputError if the file cannot be written.
    """
    staged: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=staged_prefix(path), dir=path.parent)
        staged = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.chmod(0o644)
        os.replace(staged, path)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        if staged is not None:
            staged.unlink(missing_ok=True)


def refused(path: Path, error: OSError) -> InputError:
    """Return the error to raise when `path` cannot be written."""
    if error.errno in _NO_SPACE:
        finding = "not written, no space left on the disk; free some or choose another folder"
    else:
        finding = f"cannot be written ({error.strerror or error}); check the folder and its rights"
    return InputError(f"{path}: {finding}")


def remove_staged_files(folder: Path) -> None:
    """Remove half-written files of a killed process in `folder`; no other process may be writing there."""
    for path in folder.glob(".*"):
        if _STAGED.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def staged_prefix(path: Path) -> str:
    """Return the prefix of the temporary file for `path`, short because a name has at most 255 bytes."""
    return f".{path.name[:_STAGED_NAME]}."


def format_json(data: Any, indent: str = "") -> str:
    """Return readable JSON: one field per line, lists of plain values on one line."""
    inner = indent + "  "
    if isinstance(data, dict):
        items = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {format_json(item, inner)}"
            for key, item in cast(dict[str, Any], data).items()
        ]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}" if items else "{}"
    if isinstance(data, list) and any(isinstance(item, dict) for item in cast(list[Any], data)):
        items = [inner + format_json(item, inner) for item in cast(list[Any], data)]
        return "[\n" + ",\n".join(items) + f"\n{indent}]"
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def describe_type(kind: Any) -> str:
    """Return a field's type in words, e.g. "a whole number or 'all'"."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(repr(allowed) for allowed in arguments)
    if origin in (Union, UnionType):
        return " or ".join(describe_type(one) for one in arguments)
    if origin is tuple:
        return f"a list, each {describe_type(arguments[0])}"
    return _PLAIN.get(kind, "an object")


def _decode(kind: Any, value: Any, where: str, name: str) -> Any:
    """Return `value` checked as type `kind`; `where` and the field's path `name` locate it in messages."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(value, dict):
        return _decode_record(cast("type[Any]", kind), cast(dict[str, Any], value), where, name)
    if origin in (Union, UnionType):
        return _decode_union(arguments, kind, value, where, name)
    if origin is tuple and isinstance(value, (list, tuple)):
        return _decode_tuple(arguments, cast("list[Any]", value), where, name)
    if origin is dict and isinstance(value, dict):
        entries = cast(dict[str, Any], value)
        return {key: _decode(arguments[1], item, where, f"{name}.{key}") for key, item in entries.items()}
    if origin is Literal and any(type(value) is type(allowed) and value == allowed for allowed in arguments):
        return value
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if abs(value) > _LARGEST_FLOAT:
            raise _misfit(kind, value, where, name)
        return float(value)
    if kind in _PLAIN and type(value) is kind:
        return value
    raise _misfit(kind, value, where, name)


def _decode_union(kinds: tuple[Any, ...], kind: Any, value: Any, where: str, name: str) -> Any:
    """Return the value as the first kind that accepts it; if only one could, raise its more precise error."""
    problems: list[InputError] = []
    for one in kinds:
        try:
            return _decode(one, value, where, name)
        except InputError as problem:
            if one is not NoneType:
                problems.append(problem)
    if len(problems) == 1 and isinstance(value, (dict, list, tuple)):
        raise problems[0]
    raise _misfit(kind, value, where, name)


def _decode_tuple(kinds: tuple[Any, ...], items: list[Any], where: str, name: str) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(items)
    if len(kinds) != len(items):
        raise InputError(f"{_place(where, name)} has {len(items)} entries; expected {len(kinds)}")
    return tuple(
        _decode(kind, item, where, f"{name}[{index}]")
        for index, (kind, item) in enumerate(zip(kinds, items, strict=True))
    )


_field_types = cache(get_type_hints)
"""Types of a dataclass's fields by name; a file may hold thousands of a kind, and resolving them is slow."""


def _decode_record(kind: type[Any], data: dict[str, Any], where: str, name: str) -> Any:
    hints = _field_types(kind)
    known = {stored_key(field): field for field in fields(kind)}
    prefix = f"{name}." if name else ""
    for key in data:
        if key not in known:
            raise InputError(
                f"{_place(where, prefix + key)} is not a field here; remove it, or update ldseg if a newer "
                f"version wrote it (known: {', '.join(known)})"
            )
    for key, field in known.items():
        if key not in data and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{_place(where, prefix + key)} is missing; add it")
    values = {
        known[key].name: _decode(hints[known[key].name], item, where, prefix + key)
        for key, item in data.items()
    }
    try:
        return kind(**values)
    except ValueError as error:
        raise InputError(_place(where, str(error))) from error


def _misfit(kind: Any, value: Any, where: str, name: str) -> InputError:
    found = repr(value)
    found = found if len(found) <= _LONGEST_VALUE else found[: _LONGEST_VALUE - 3] + "..."
    return InputError(f"{_place(where, name or 'it')} is {found}; expected {describe_type(kind)}")


def _place(where: str, name: str) -> str:
    return f"{where}: {name}" if where else name


def _merged(record: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Return `record` as dicts with `changes` merged in, recursively for nested dataclasses."""
    data: dict[str, Any] = to_json(record)
    for key, change in changes.items():
        current = getattr(record, key, None)
        if is_dataclass(current) and isinstance(change, dict):
            data[key] = _merged(current, cast(dict[str, Any], change))
        else:
            data[key] = change
    return data


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number")
    return number
