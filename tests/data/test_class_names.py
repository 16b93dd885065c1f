"""Names of the classes of plain folders, and the hint at subjects with several images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ldseg.data.cases import Case, DataOptions
from ldseg.data.checks import check
from ldseg.data.dataset import open_dataset
from ldseg.data.subject_hint import subject_hint
from ldseg.errors import InputError
from ldseg.evaluation.evaluate_folders import EvaluationOptions, evaluate_folders


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pictures with the ids 0, 1 and 2."""
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(3):
        ids = np.zeros((16, 16), np.uint8)
        ids[2:6], ids[8:12] = 1, 2
        Image.fromarray(60 * ids + number).save(tmp_path / "data" / "images" / f"{number}.png")
        Image.fromarray(ids).save(tmp_path / "data" / "labels" / f"{number}.png")
    return tmp_path / "data"


def copied(folder: Path) -> Path:
    """Masks as a perfect model would predict them."""
    return Path(shutil.copytree(folder, folder.with_name("predicted")))


NAMED = {"background": 0, "liver": 1, "tumour": 2}


def test_without_names_the_classes_are_their_ids(data: Path) -> None:
    assert list(open_dataset(data).classes.values()) == [0, 1, 2]
    assert "liver" not in open_dataset(data).classes


def test_an_option_names_the_classes(data: Path) -> None:
    dataset = open_dataset(data, DataOptions(classes={"tumour": 2, "liver": 1}))
    assert (list(dataset.classes.items()), dataset.declared) == (list(NAMED.items()), True)


@pytest.mark.parametrize(
    "content", [{"liver": 1, "tumour": 2}, {"0": "background", "1": "liver", "2": "tumour"}]
)
def test_a_classes_json_names_them(data: Path, content: dict[str, Any]) -> None:
    (data / "classes.json").write_text(json.dumps(content))
    assert open_dataset(data).classes == NAMED
    scores = evaluate_folders(copied(data / "labels"), data)
    assert set(scores.metrics) == {"liver", "tumour"}


def test_masks_without_images_are_scored_by_those_names(data: Path) -> None:
    options = EvaluationOptions(data=DataOptions(classes={"liver": 1, "tumour": 2}))
    scores = evaluate_folders(copied(data / "labels"), data / "labels", options)
    assert set(scores.metrics) == {"liver", "tumour"}


def test_a_merged_class_takes_its_name(data: Path) -> None:
    options = DataOptions(classes={"nucleus": 1}, labels_above_zero=True)
    assert open_dataset(data, options).classes == {"background": 0, "nucleus": 1}


def test_names_that_contradict_each_other_are_one_line(data: Path) -> None:
    (data / "classes.json").write_text('{"liver": 1, "tumour": 2}')
    with pytest.raises(InputError, match="names the classes already; correct it there, and leave out"):
        open_dataset(data, DataOptions(classes={"liver": 1, "tumour": 2}))
    (data / "dataset.json").write_text('{"labels": {"background": 0, "a": 1, "b": 2}}')
    with pytest.raises(InputError, match=r"classes\.json: names other classes than dataset\.json"):
        open_dataset(data)
    (data / "dataset.json").unlink()
    (data / "classes.json").write_text('["liver"]')
    with pytest.raises(InputError, match=r"classes\.json: it is not an object"):
        open_dataset(data)


@pytest.mark.parametrize(
    "classes, message",
    [
        ({"a": 1, "b": 1}, "it has a name or an id twice"),
        ({"a": -1}, "it has a negative id"),
        ({"background": 0}, "names no structure"),
        ({"a": 1, "ignore": 255}, "ignore is no class; give --ignore-id"),
    ],
)
def test_illegal_names_are_one_line(classes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DataOptions(classes=classes)


def cases(*names: str, subject: str | None = None) -> list[Case]:
    return [Case(name, (), (), subject or name) for name in names]


@pytest.mark.parametrize(
    "names, example",
    [
        (
            ("010_HC", "010_2HC", "011_HC", "012_HC"),
            "1 group of cases begins with the same number, e.g. 010_HC",
        ),
        (("p01_a", "p01_b", "p02_a", "p02_b", "p03_a"), "2 groups of cases begin"),
    ],
)
def test_several_images_of_what_may_be_one_subject_are_hinted_at(
    names: tuple[str, ...], example: str
) -> None:
    hint = subject_hint(cases(*names))
    assert hint is not None
    assert example in hint


@pytest.mark.parametrize(
    "names",
    [
        ("img_001", "img_002", "img_003"),
        ("set1_01", "set1_02", "set2_01", "set3_01"),
        ("010_HC", "011_HC", "012_HC"),
        ("010_HC", "010_2HC", "other"),
        ("12_a", "12_b"),
    ],
)
def test_other_names_are_no_hint(names: tuple[str, ...]) -> None:
    assert subject_hint(cases(*names)) is None


def test_known_subjects_need_no_hint(data: Path) -> None:
    assert subject_hint(cases("010_HC", "010_2HC", "011_HC", "012_HC", subject="one")) is None
    for folder in ("images", "labels"):
        for path in list((data / folder).iterdir()):
            path.rename(path.with_name(f"{int(path.stem) + 10}_a.png"))
        Image.open(data / folder / "10_a.png").save(data / folder / "10_b.png")
    told = [hint for hint in check(open_dataset(data)).hints if "--subject-pattern" in hint]
    assert len(told) == 1
    pattern = told[0].split("'")[1]
    dataset = open_dataset(data, DataOptions(subject_pattern=pattern))
    assert sorted({case.subject for case in dataset.cases}) == ["10", "11", "12"]
