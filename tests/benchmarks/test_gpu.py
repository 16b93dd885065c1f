"""The GPU benchmark keeps what it has, whatever ends one of its parts."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu_journal")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu")


def test_a_figure_that_cannot_be_taken_is_a_record_and_the_next_is_taken(
    journal: ModuleType, tmp_path: Path
) -> None:
    written = journal.Journal(tmp_path / "out.jsonl")
    written.attempt("speed", "broken", lambda: {"value": 1 / 0})
    written.attempt("speed", "sound", lambda: {"value": 2})
    broken, sound = journal.read_journal(tmp_path / "out.jsonl")
    assert broken["ok"] is False
    assert "ZeroDivisionError" in broken["error"]
    assert sound["value"] == 2


def test_a_line_cut_off_by_a_kill_costs_no_other(journal: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    journal.Journal(path).add("speed", "first", value=1)
    with path.open("a") as file:
        file.write('{"part": "spe')
    assert [one["name"] for one in journal.read_journal(path)] == ["first"]


def test_a_part_over_its_limit_is_ended(gpu: ModuleType) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = subprocess.Popen(command, start_new_session=True, text=True)
    started = time.monotonic()
    gpu.wait([process], started + 0.3)
    assert process.returncode != 0
    assert time.monotonic() < started + 30
