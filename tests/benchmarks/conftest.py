"""The script that makes the tables, and a folder for it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from result_files import PROSE

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("summary")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text(PROSE)
    return tmp_path
