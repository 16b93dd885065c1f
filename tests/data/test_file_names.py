"""One name in two spellings of Unicode is one name."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from volume_builders import mask, save_image, write_json

from ldseg.data.dataset import cases_named, find_inputs, open_dataset
from ldseg.data.splits import make_splits, match_spelling, read_splits
from ldseg.errors import InputError
from ldseg.evaluation.evaluate_folders import evaluate_folders
from ldseg.runs.run_setup import SplitOptions, prepare_run

NAMES = tuple(f"Gewebe_ä{number}" for number in range(3))
NFD, NFC = (tuple(unicodedata.normalize(form, name) for name in NAMES) for form in ("NFD", "NFC"))


def mixed(root: Path) -> Path:
    """Images as macOS names them, masks as others do."""
    for decomposed, composed in zip(NFD, NFC, strict=True):
        save_image(root / f"images/{decomposed}.png")
        mask(root / f"masks/{composed}.png")
    return root


def test_images_and_masks_are_paired_and_keep_the_images_spelling(tmp_path: Path) -> None:
    dataset = open_dataset(mixed(tmp_path))
    assert tuple(case.name for case in dataset.cases) == NFD
    assert tuple(case.subject for case in dataset.cases) == NFD


def test_cases_are_found_by_either_spelling(tmp_path: Path) -> None:
    cases = open_dataset(mixed(tmp_path)).cases
    assert cases_named(cases, NFC) == cases_named(cases, NFD) == cases


def test_splits_are_those_of_the_name_and_not_of_its_spelling(tmp_path: Path) -> None:
    splits = make_splits(open_dataset(mixed(tmp_path)).cases)
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_name(unicodedata.normalize("NFC", path.name)))
    composed = open_dataset(tmp_path).cases
    assert match_spelling(splits, composed) == make_splits(composed)


def test_a_run_takes_splits_in_another_spelling(tmp_path: Path) -> None:
    folds = [{"train": list(NFC[:2]), "val": [NFC[2]]}]
    file = write_json(tmp_path / "splits_final.json", folds)
    prepared = prepare_run(mixed(tmp_path / "set"), tmp_path / "run", split=SplitOptions(file))
    assert prepared.splits.folds[0].validation == (NFD[2],)
    assert read_splits(tmp_path / "run/splits.json") == prepared.splits


def test_spacings_are_found_in_either_spelling(tmp_path: Path) -> None:
    mixed(tmp_path)
    (tmp_path / "spacing.csv").write_text(f"file,mm\n{NFC[0]}.png,0.3\n", encoding="utf-8")
    assert open_dataset(tmp_path).cases[0].spacing == (0.3, 0.3)


def test_predictions_are_scored_in_either_spelling(tmp_path: Path) -> None:
    mixed(tmp_path / "set")
    for name in NFC:
        mask(tmp_path / f"out/{name}.png")
    assert tuple(evaluate_folders(tmp_path / "out", tmp_path / "set").cases) == NFD
    for name in NFD:
        mask(tmp_path / f"truth/{name}.png")
    assert tuple(evaluate_folders(tmp_path / "out", tmp_path / "truth").cases) == NFD


def test_a_list_finds_files_in_either_spelling(tmp_path: Path) -> None:
    mixed(tmp_path)
    rows = [f"images/{name}.png,masks/{name}.png" for name in NFC]
    (tmp_path / "cases.csv").write_text("\n".join(["image,label", *rows]), encoding="utf-8")
    assert len(open_dataset(tmp_path).cases) == 3


def test_one_name_in_two_spellings_is_one_name_twice(tmp_path: Path) -> None:
    for name in (NFC[0], NFD[0]):
        save_image(tmp_path / f"{name}.png")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system has one spelling")
    with pytest.raises(InputError, match="is a second file of case"):
        find_inputs([tmp_path], 1)


def test_names_that_differ_in_case_only_are_told(tmp_path: Path) -> None:
    for name in ("a", "A"):
        save_image(tmp_path / f"images/{name}.png")
        mask(tmp_path / f"masks/{name}.png")
    if len(list((tmp_path / "images").iterdir())) == 1:
        pytest.skip("this file system ignores upper and lower case")
    (remark,) = open_dataset(tmp_path).remarks
    assert "A and a differ in upper and lower case only" in remark
