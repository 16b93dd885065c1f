"""The script that makes the tables, and a folder for it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from result_files import BENCHMARKS, COSTS, PROSE, VARIANTS, Script


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """script(name) -> the module of a script of benchmarks/, which finds its neighbours during the test."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def summary(script: Script) -> ModuleType:
    return script("summary")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text(PROSE)
    (tmp_path / "costs.md").write_text(COSTS)
    (tmp_path / "variants.md").write_text(VARIANTS)
    return tmp_path
