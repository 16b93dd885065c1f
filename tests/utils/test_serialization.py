"""Records: there and back, every wrong value named, files whole or not at all."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from ldseg.errors import InputError
from ldseg.utils.serialization import (
    describe_type,
    format_json,
    from_json,
    read_json,
    read_versioned,
    to_json,
    with_changes,
    write_bytes_atomic,
    write_json_atomic,
)


@dataclass(frozen=True)
class Inner:
    name: str
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"inner.share is {self.share}; choose 0 to 1")


@dataclass(frozen=True)
class Outer:
    inner: Inner
    count: int = 1
    fold: int | Literal["all"] = 0
    minutes: float | None = None
    strides: tuple[tuple[int, ...], ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    classes: dict[str, int] = field(default_factory=dict)
    inners: tuple[Inner, ...] = ()
    on: bool = False


FULL = Outer(
    Inner("a", 1.0), 3, "all", 2.5, ((1, 2), (3,)), (4, 5.0), {"x": 1}, (Inner("b"), Inner("c")), True
)


@pytest.mark.parametrize("record", [FULL, Outer(Inner("a"))])
def test_a_record_comes_back_equal(record: Outer) -> None:
    assert from_json(Outer, to_json(record), "file") == record


def test_a_whole_number_is_a_number_but_not_the_other_way() -> None:
    found = from_json(Inner, {"name": "a", "share": 1}, "file")
    assert isinstance(found.share, float)
    with pytest.raises(InputError, match=r"count is 1\.0; expected a whole number"):
        from_json(Outer, {"inner": {"name": "a"}, "count": 1.0}, "file")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"count": True}, "file: count is True; expected a whole number"),
        ({"count": "3"}, "file: count is '3'; expected a whole number"),
        ({"fold": "some"}, "file: fold is 'some'; expected a whole number or 'all'"),
        ({"minutes": "long"}, "file: minutes is 'long'; expected a number or null"),
        ({"strides": [[1, 2.5]]}, r"file: strides\[0\]\[1\] is 2.5; expected a whole number"),
        ({"strides": 3}, "file: strides is 3; expected a list"),
        ({"pair": [1]}, "file: pair has 1 entries; expected 2"),
        ({"classes": {"x": "y"}}, "file: classes.x is 'y'; expected a whole number"),
        ({"inner": {"name": "a", "share": 7}}, "file: inner.share is 7.0; choose 0 to 1"),
        ({"inner": {"nam": "a"}}, "file: inner.nam is not a field here; .* newer version"),
        ({"inner": {}}, "file: inner.name is missing; add it"),
        ({"inners": [{"name": 3}]}, r"file: inners\[0\].name is 3; expected text"),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_what_is_allowed(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        from_json(Outer, {"inner": {"name": "a"}} | changes, "file")


def test_changes_reach_nested_fields_and_leave_the_others() -> None:
    found = with_changes(FULL, {"inner": {"share": 0.25}, "count": 9}, "")
    assert found.inner == Inner("a", 0.25)
    assert (found.count, found.strides) == (9, FULL.strides)
    with pytest.raises(InputError, match=r"^inner\.shar is not a field"):
        with_changes(FULL, {"inner": {"shar": 0.25}}, "")


def test_json_has_plain_lists_on_one_line() -> None:
    text = format_json({"strides": [[1, 2], [3, 4]], "inners": [{"a": 1}], "none": {}})
    assert '"strides": [[1, 2], [3, 4]]' in text
    assert text.count("\n") == 8


def test_types_are_described_in_words() -> None:
    assert describe_type(tuple[float, ...] | None) == "a list, each a number or null"


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content in ('{"a": ', "[1]", '{"a": NaN}', b"\xff\xfe\x00"):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InputError, match=r"a\.json: .*; make it again"):
            read_json(path, "make it again")
    with pytest.raises(InputError, match="there is no such file; make it again"):
        read_json(tmp_path / "b.json", "make it again")


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json_atomic(path, {"version": 2, "x": 1})
    assert read_versioned(path, 2, "") == {"x": 1}
    with pytest.raises(InputError, match="is of version 2, this ldseg knows up to 1"):
        read_versioned(path, 1, "make it again")
    write_json_atomic(path, {"x": 1})
    with pytest.raises(InputError, match="has no version number"):
        read_versioned(path, 1, "make it again")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.json"
    write_bytes_atomic(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(InputError, match=r"a\.json: not written, no space left on the disk"):
        write_bytes_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_bytes_atomic(tmp_path / "file" / "a.json", b"")
