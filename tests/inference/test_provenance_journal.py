"""A command records its cases in a journal, and merges it into `prediction.json` at its end."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ldseg.errors import InputError
from ldseg.inference import provenance_journal
from ldseg.inference.backends.backend import Computation
from ldseg.inference.provenance import UNKNOWN_MODEL, CaseRecord, Method, Records
from ldseg.inference.provenance_journal import FILE, JOURNAL, ProvenanceJournal, merge_journal, read_records
from ldseg.inference.temperature_scaling import Calibration
from ldseg.settings import SamplingRecord


def record(name: str, seed: int = 0) -> CaseRecord:
    method = Method(
        SamplingRecord("ddim", 1, 1, False), seed, True, Calibration(), Computation("torch", "cpu", "fp32")
    )
    image, labels, time = (f"in/{name}.png",), (f"{name}.png",), "2026-01-01T00:00:00+00:00"
    return CaseRecord(name, image, 1, time, labels, (), (), UNKNOWN_MODEL, method, "0", time)


def test_a_case_costs_a_line_and_prediction_json_is_written_at_the_end(tmp_path: Path) -> None:
    journal = ProvenanceJournal(tmp_path)
    journal.merge()
    before = (tmp_path / FILE).read_bytes()
    for name in "abc":
        journal.begin_case(name, record(name))
    assert (tmp_path / FILE).read_bytes() == before
    assert len((tmp_path / JOURNAL).read_bytes().splitlines()) == 3
    journal.merge()
    assert not (tmp_path / JOURNAL).exists()
    assert set(read_records(tmp_path).cases) == set("abc")


def test_records_of_a_killed_command_are_read_and_merged_by_the_next(tmp_path: Path) -> None:
    killed = ProvenanceJournal(tmp_path)
    killed.begin_case("a", record("a"))
    killed.fail_case("b", "b.png: is damaged", [])
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"case": "c", "rec')
    assert set(read_records(tmp_path).cases) == {"a"}
    following = ProvenanceJournal(tmp_path)
    following.begin_case("d", record("d"))
    following.merge()
    found = read_records(tmp_path)
    assert (set(found.cases), found.failed) == ({"a", "d"}, {"b": "b.png: is damaged"})
    assert not (tmp_path / JOURNAL).exists()


def test_a_kill_between_merging_and_removing_the_journal_changes_nothing(tmp_path: Path) -> None:
    journal = ProvenanceJournal(tmp_path)
    journal.begin_case("a", record("a"))
    journal.fail_case("a", "a.png: is damaged", ["a.png"])
    lines = (tmp_path / JOURNAL).read_bytes()
    journal.merge()
    merged = read_records(tmp_path)
    (tmp_path / JOURNAL).write_bytes(lines)
    assert read_records(tmp_path) == merged
    assert (merged.cases, merged.failed) == ({}, {"a": "a.png: is damaged"})


def test_files_of_another_prediction_go_before_the_journal_is_merged(tmp_path: Path) -> None:
    journal = ProvenanceJournal(tmp_path)
    (tmp_path / "a_uncertainty.tif").write_bytes(b"")
    journal.begin_case("a", replace(record("a"), files=("a.png", "a_uncertainty.tif")))
    assert ProvenanceJournal(tmp_path).begin_case("a", record("a", seed=1)) == ("a_uncertainty.tif",)
    assert read_records(tmp_path).cases["a"].files == ("a.png",)


def test_a_damaged_journal_is_one_line_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(b"no JSON\n")
    with pytest.raises(InputError, match=r"prediction\.jsonl: cannot be read as lines of JSON .*; remove it"):
        merge_journal(tmp_path)


def record_ten(out: Path, first: int) -> None:
    """Record ten cases, as one of several processes does, and merge now and then, as its end does."""
    journal = ProvenanceJournal(out)
    for number in range(first, first + 10):
        journal.begin_case(f"case{number}", record(f"case{number}"))
        if number % 4 == 0:
            journal.merge()


def test_processes_that_write_into_one_folder_lose_no_record(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(record_ten, [tmp_path, tmp_path], [0, 10]))
    assert len(read_records(tmp_path).cases) == 20
    merge_journal(tmp_path, ["c.txt: is no image"])
    assert len(read_records(tmp_path).cases) == 20
    assert read_records(tmp_path).skipped == ("c.txt: is no image",)


def test_records_that_another_process_merges_while_they_are_read_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ProvenanceJournal(tmp_path)
    other.merge()
    other.begin_case("a", record("a"))
    read_file = provenance_journal._read_merged  # pyright: ignore[reportPrivateUsage]

    def read_and_merge(path: Path) -> Records:
        monkeypatch.setattr(provenance_journal, "_read_merged", read_file)
        found = read_file(path)
        other.merge()
        return found

    monkeypatch.setattr(provenance_journal, "_read_merged", read_and_merge)
    assert set(read_records(tmp_path).cases) == {"a"}
