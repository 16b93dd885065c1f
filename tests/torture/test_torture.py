"""The suite can tell right from wrong; a sample of it runs here, all of it with `make torture`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from attempts import judge
from inputs import FOLDERS, make_input
from models import make_models
from sound_files import KINDS
from suite import damage

SAMPLE = (18, 120)
ONE = "ldseg: error: a.png: is empty; copy it again"


@pytest.mark.parametrize(
    "code, lines, cpu_s, peak, fault",
    [
        (0, [], 1.0, 1.0, ""),
        (2, [ONE], 1.0, 1.0, ""),
        (2, [], 1.0, 1.0, "0 lines"),
        (2, ["a library speaks", ONE], 1.0, 1.0, "2 lines"),
        (2, ["Traceback (most recent call last):"], 1.0, 1.0, "1 lines"),
        (1, ["Traceback", "ValueError: x"], 1.0, 1.0, "left with 1: ValueError: x"),
        (-11, [], 1.0, 1.0, "left with -11"),
        (0, [], 21.0, 1.0, "CPU seconds"),
        (2, [ONE], 1.0, 3.5, "3.50 GB"),
    ],
)
def test_what_must_not_happen_is_a_fault(
    code: int, lines: list[str], cpu_s: float, peak: float, fault: str
) -> None:
    found = judge(code, lines, cpu_s, peak)
    assert fault in found
    assert bool(found) == bool(fault)


@pytest.mark.parametrize("kind", ["png", "nifti_gz", "mhd", "tables", "model"])
def test_the_same_number_is_the_same_input(kind: str, tmp_path: Path) -> None:
    make_models(tmp_path / "models")
    for number in (60, 150):
        first, second = (
            make_input(kind, number, tmp_path / f"{number}{copy}", tmp_path / "models") for copy in "ab"
        )
        assert first.damage == second.damage
        files = [path for path in sorted(first.root.rglob("*")) if path.is_file()]
        assert len(files) > 3
        for path in files:
            assert path.read_bytes() == (second.root / path.relative_to(first.root)).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="the suite needs pipes and limits of POSIX")
def test_a_sample_of_the_suite_finds_no_fault(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    make_models(tmp_path / "models")
    said: list[str] = []
    found: dict[str, Any] = damage(tmp_path / "models", tmp_path / "work", SAMPLE, 1, said.append)
    assert found["faults"] == []
    assert set(found["kinds"]) == {*KINDS, *FOLDERS}
    assert all(counts["tried"] == len(SAMPLE) for counts in found["kinds"].values())
    assert sum(counts["refused"] for counts in found["kinds"].values()) > 10
