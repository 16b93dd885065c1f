"""Names of parts: entries, and code outside of ldseg that must be admitted first."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ldseg.errors import InputError
from ldseg.utils import registry
from ldseg.utils.registry import Registry, admit

PARTS: Registry[object] = Registry("model.part", {"one": 1, "two": 2})


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of an object in a module that leaves a trace when it is run."""
    (tmp_path / "stranger.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'trace')!r}).touch()\nclass Part:\n    size = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    monkeypatch.setattr(registry, "_admitted", {})
    return "stranger:Part"


def test_a_registry_lists_its_entries_and_refuses_other_names() -> None:
    assert list(PARTS) == ["one", "two"]
    assert PARTS.find("two") == PARTS["two"] == 2
    with pytest.raises(ValueError, match=r"model.part is 'three'; choose one of one, two, or package.module"):
        PARTS.find("three")


def test_code_that_was_not_admitted_is_neither_found_nor_run(outside: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model.part is stranger:Part, code outside of ldseg; .*allow-code"):
        PARTS.find(outside)
    with pytest.raises(InputError, match=r"^settings: names code outside of ldseg, stranger:Part; .*allow-c"):
        admit({"model": {"part": outside}}, False, "settings")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("where", ["value", "key", "list", "name"])
def test_admitted_code_is_found_wherever_settings_name_it(outside: str, where: str, tmp_path: Path) -> None:
    settings = {
        "value": {"a": {"b": outside}},
        "key": {outside: 0.5},
        "list": ["x", outside],
        "name": outside,
    }
    admit(settings[where], True, "settings")
    assert (tmp_path / "trace").exists()
    assert PARTS.find(outside).size == 3  # type: ignore[attr-defined]
    admit(settings[where], False, "a model of the same code")  # which is known by now


@pytest.mark.parametrize(
    "value", ["C:\\weights", "a b:c", "https://host:80/x", "12:30", "16:Part", {"options": {"file": "a:b"}}]
)
def test_texts_that_name_no_code_need_no_permission(value: object) -> None:
    admit({"model": value}, False, "settings")


@pytest.mark.parametrize(
    ("name", "finding"),
    [("no_such_module:Part", "No module named"), ("stranger:Other", "no attribute 'Other'")],
)
@pytest.mark.usefixtures("outside")
def test_code_that_is_not_there_is_one_line(name: str, finding: str) -> None:
    with pytest.raises(
        InputError, match=rf"settings: {name} cannot be imported \(.*{finding}.*; install its"
    ):
        admit(name, True, "settings")
