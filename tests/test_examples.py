"""The examples run as they are."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *words])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_train_and_predict_says_how_sure_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("train_and_predict.py", monkeypatch, str(tmp_path))
    said = capsys.readouterr().out
    assert "expected Dice of this answer: 0." in said
    assert "5 to 95 %" in said


def test_the_model_serves_in_a_loop_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("own_training_loop.py", monkeypatch, "40")
    said = capsys.readouterr().out
    assert float(said.rsplit(" ", 1)[1]) > 0.3


def test_every_example_is_run_here() -> None:
    mentioned = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in mentioned for path in EXAMPLES.glob("*.py"))
