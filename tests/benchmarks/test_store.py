"""Results come back as they were stored, and are stored in few bytes that stay the same."""

from __future__ import annotations

import importlib
import json
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from result_files import BENCHMARKS, Script

HEADER = {"benchmark": "accuracy", "data": "usgra", "seed": 0, "command": "python a.py", "commit": "abc1234"}


@pytest.fixture
def store(script: Script) -> ModuleType:
    return script("store")


def a_result(dice: float = 0.5) -> dict[str, Any]:
    by_structure = {"a": {"nerve": {"dice": dice, "nsd": 0.25}, "vessel": {"dice": 1.0}}}
    return {
        **HEADER,
        "own": {"mean": {"dice": dice}, "cases": by_structure},
        "points": [{"strength": n, "cases": {"a": {"dice": dice / (n + 1)}}} for n in range(2)],
        "names": {"cases": ["a", "b"]},
    }


def test_a_result_comes_back_whole(store: ModuleType, tmp_path: Path) -> None:
    store.write_result(tmp_path, "one", a_result())
    store.write_result(tmp_path, "two", a_result(0.75))
    assert store.read_results(tmp_path) == {"one": a_result(), "two": a_result(0.75)}
    assert store.read_result(tmp_path, "two") == a_result(0.75)


def test_cases_lie_in_one_table_a_set_and_not_in_the_result(store: ModuleType, tmp_path: Path) -> None:
    store.write_result(tmp_path, "one", a_result())
    stored = json.loads((tmp_path / "one.json").read_text())
    assert stored["own"] == {"mean": {"dice": 0.5}}
    rows = store.read_table(tmp_path / "cases" / "accuracy-usgra.csv.gz")
    assert rows[0] == {
        "result": "one",
        "part": "own",
        "case": "a",
        "structure": "nerve",
        "dice": "0.5",
        "nsd": "0.25",
    }
    assert [row["part"] for row in rows] == ["own", "own", "points/0", "points/1"]


def test_writing_again_replaces_a_result_and_changes_no_other_byte(store: ModuleType, tmp_path: Path) -> None:
    for name in ("two", "one"):
        store.write_result(tmp_path, name, a_result())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    store.write_result(tmp_path, "one", a_result(0.75))
    store.write_result(tmp_path, "one", a_result())
    store.store_again(tmp_path)
    assert {path: path.read_bytes() for path in files} == before


def test_a_removed_result_leaves_no_case(store: ModuleType, tmp_path: Path) -> None:
    store.write_result(tmp_path, "one", a_result())
    store.write_result(tmp_path, "two", a_result())
    store.remove_result(tmp_path, "one")
    assert store.read_results(tmp_path) == {"two": a_result()}
    store.remove_result(tmp_path, "two")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_figures_do_not_repeat_what_their_result_says(store: ModuleType, tmp_path: Path) -> None:
    made = [{**HEADER, "metric": "dice", "value": 1 / 3}, {**HEADER, "seed": 1, "metric": "dice", "value": 1}]
    path = store.write_result(tmp_path, "one", {**HEADER, "records": made})
    assert path.read_text().count("python a.py") == 1
    first, second = store.read_result(tmp_path, "one")["records"]
    assert first == {**HEADER, "metric": "dice", "value": pytest.approx(1 / 3, rel=1e-6)}
    assert second == made[1]


def write_many(numbers: range, folder: Path, benchmarks: str) -> None:
    import sys

    sys.path.insert(0, benchmarks)
    store = importlib.import_module("store")
    for number in numbers:
        store.write_result(folder, f"result{number}", a_result())


def test_processes_that_store_at_once_lose_nothing(store: ModuleType, tmp_path: Path) -> None:
    fork = get_context("fork")
    parts = [range(start, start + 5) for start in (0, 5, 10)]
    running = [fork.Process(target=write_many, args=(one, tmp_path, str(BENCHMARKS))) for one in parts]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert store.read_results(tmp_path) == {f"result{number}": a_result() for number in range(15)}
