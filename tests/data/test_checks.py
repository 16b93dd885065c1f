"""Checking a whole set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from volume_builders import mask, save_image, save_volume, volume, write_json

from ldseg.data import checks
from ldseg.data.cases import Case, DataSet
from ldseg.data.checks import check
from ldseg.data.dataset import DataOptions, open_dataset
from ldseg.data.volume import Volume


def flat_set(root: Path, ids: tuple[int, ...] = (0, 1), number: int = 5) -> Path:
    for n in range(number):
        save_image(root / f"images/{n}.png")
        mask(root / f"labels/{n}.png", ids)
    return root


def test_a_sound_set_has_a_row_per_case_and_no_faults(tmp_path: Path) -> None:
    for n in range(5):
        save_volume(tmp_path / f"images/{n}.nii.gz", volume("zyx", "image", seed=n))
        save_volume(tmp_path / f"labels/{n}.nii.gz", volume("zyx", seed=n))
    dataset = open_dataset(tmp_path)
    report = check(dataset)
    assert report.faults == ()
    assert report.hints == ()
    assert [row.name for row in report.rows] == list("01234")
    assert report.rows[0].shape == (4, 5, 7)
    assert report.rows[0].dtype == "float32"
    assert sum(report.rows[0].ids.values()) == 4 * 5 * 7


def test_every_fault_is_listed_with_file_and_remedy(tmp_path: Path) -> None:
    flat_set(tmp_path, number=6)
    (tmp_path / "images/1.png").write_bytes(b"nonsense")
    (tmp_path / "labels/2.png").write_bytes(b"nonsense")
    mask(tmp_path / "labels/3.png", (0, 9))
    save_image(tmp_path / "labels/4.png", np.zeros((3, 3), np.uint8))
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "a": 1}})
    seen: list[str] = []
    report = check(open_dataset(tmp_path), on_case=lambda case: seen.append(case.name))
    assert seen == list("012345")
    assert [Path(fault.file).relative_to(tmp_path).as_posix() for fault in report.faults] == [
        "images/1.png",
        "labels/2.png",
        "labels/3.png",
        "labels/4.png",
    ]
    assert all(fault.finding and fault.remedy for fault in report.faults)


def test_all_raters_of_a_case_are_looked_at(tmp_path: Path) -> None:
    save_image(tmp_path / "images/a.png")
    for rater in range(3):
        mask(tmp_path / f"labels/a_rater{rater}.png")
    (tmp_path / "labels/a_rater0.png").write_bytes(b"nonsense")
    (tmp_path / "labels/a_rater2.png").write_bytes(b"nonsense")
    report = check(open_dataset(tmp_path))
    assert len(report.faults) == 2
    assert report.rows[0].raters == 1
    assert report.rows[0].ids == {0: 24, 1: 24}


def test_an_undeclared_255_is_hinted_at(tmp_path: Path) -> None:
    flat_set(tmp_path, (0, 1, 255))
    assert any("ignore_id 255" in hint for hint in check(open_dataset(tmp_path)).hints)
    ignoring = open_dataset(tmp_path, DataOptions(ignore_id=255))
    assert not any("ignore_id" in hint for hint in check(ignoring).hints)


def test_a_255_alone_is_the_foreground(tmp_path: Path) -> None:
    assert not any("ignore_id" in hint for hint in check(open_dataset(flat_set(tmp_path, (0, 255)))).hints)


def test_a_structure_of_one_subject_alone_is_hinted_at(tmp_path: Path) -> None:
    flat_set(tmp_path, number=3)
    assert not any("one subject alone" in hint for hint in check(open_dataset(tmp_path)).hints)
    mask(tmp_path / "labels/1.png", (0, 1, 2))
    hints = check(open_dataset(tmp_path)).hints
    assert any("one subject alone has class_2 (1)" in hint for hint in hints)


def test_odd_but_legal_things_are_hinted_at(tmp_path: Path) -> None:
    flat_set(tmp_path, number=3)
    mask(tmp_path / "labels/1.png", (0,))
    save_image(tmp_path / "images/2.png", np.full((6, 8), 7, np.uint8))
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "a": 1, "rare": 2}})
    hints = " | ".join(check(open_dataset(tmp_path)).hints)
    assert "no mask has rare" in hints
    assert "1 cases have background only, e.g. 1" in hints
    assert "1 images have one value only, e.g. 2" in hints
    assert "no physical spacing" in hints
    assert "only 3 subject" in hints


def test_what_readers_say_is_hinted_at_once_for_all_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(flat_set(tmp_path))
    plain = checks.read_label

    def noted(data: DataSet, case: Case, path: Path, image: Volume) -> Volume:
        label = plain(data, case, path, image)
        return replace(
            label, notes=(f"moved by .0{case.name} voxels", *(["turned"] if case.name == "3" else []))
        )

    monkeypatch.setattr(checks, "read_label", noted)
    hints = check(dataset).hints
    assert "5 masks, e.g. 0.png: moved by .00 voxels" in hints
    assert "3.png: turned" in hints
