"""The script that makes the tables, and a folder for it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from result_files import BENCHMARKS, COSTS, PROSE, VARIANTS


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("summary")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text(PROSE)
    (tmp_path / "costs.md").write_text(COSTS)
    (tmp_path / "variants.md").write_text(VARIANTS)
    return tmp_path
