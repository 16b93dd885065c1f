"""`scores.json`: the promised form, finite numbers, whole files, and errors for what is not one."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.evaluation.case_metrics import evaluate_case
from ldseg.evaluation.scores import Scores, read_scores, to_json, write_scores

CLASSES = {"background": 0, "head": 1, "tail": 2}


def volume(array: np.ndarray) -> Volume:
    return Volume(array[None], (3.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0), "yx", "labels")


def scores() -> Scores:
    """Six cases; the tail is missing in the first prediction, and in both masks of the last."""
    draw = np.random.default_rng(0)
    cases = {}
    for n in range(6):
        a, b = draw.integers(0, 3, (2, 12, 12))
        a[(a == 2) & (n in (0, 5))] = 0
        b[(b == 2) & (n == 5)] = 0
        cases[f"case{n}"] = evaluate_case(volume(a), volume(b), CLASSES)
    return Scores(cases, CLASSES, 1.0, {f"case{n}": f"subject{n // 2}" for n in range(6)}, {"bad": "why"})


def test_the_file_has_the_promised_form(tmp_path: Path) -> None:
    write_scores(tmp_path / "deep" / "scores.json", scores())
    found = json.loads((tmp_path / "deep" / "scores.json").read_text())
    assert found["version"] == 1
    promised = {"dice", "hd95_mm", "assd_mm", "nsd", "volume_error"}
    for part in (found["cases"]["case1"], found["mean"], found["median"], found["interval"]):
        assert part.keys() == {"head", "tail"}
        assert promised <= part["head"].keys()
    dice = [case[name]["dice"] for case in found["cases"].values() for name in ("head", "tail")]
    assert found["mean_dice"] == pytest.approx(np.mean(dice))
    for name in ("head", "tail"):
        for metric, mean in found["mean"][name].items():
            low, high = found["interval"][name][metric]
            assert low - 1e-9 <= mean <= high + 1e-9


def test_missing_structures_are_flagged_and_every_number_is_finite() -> None:
    def refuse(number: str) -> float:
        raise AssertionError(number)

    found = json.loads(json.dumps(to_json(scores())), parse_constant=refuse)
    assert found["cases"]["case0"]["tail"]["empty"] == "prediction"
    assert found["cases"]["case5"]["tail"]["empty"] == "both"
    assert "empty" not in found["cases"]["case1"]["tail"]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.json", scores())
    assert read_scores(tmp_path / "scores.json") == scores()


def test_equal_scores_give_equal_files(tmp_path: Path) -> None:
    write_scores(tmp_path / "a.json", scores())
    write_scores(tmp_path / "b.json", scores())
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_the_table_beside_it_has_a_line_per_case_and_class(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.json", scores())
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert (rows[1]["case"], rows[1]["subject"], rows[1]["class"]) == ("case0", "subject0", "tail")
    assert (float(rows[1]["dice"]), rows[1]["empty"]) == (0, "prediction")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scores(tmp_path / "scores.json", scores())
    before = sorted(tmp_path.iterdir()), (tmp_path / "scores.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match=r"scores\.json: not written, no space left"):
        write_scores(tmp_path / "scores.json", scores())
    assert (sorted(tmp_path.iterdir()), (tmp_path / "scores.json").read_bytes()) == before


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends with \.json"):
        write_scores(tmp_path / "scores.txt", scores())


TWO_CASES = '{"version": 1, "tolerance_mm": 1, "classes": {"head": 1}, "cases": {%s}}'


@pytest.mark.parametrize(
    "content, finding",
    [
        ("{", "cannot be read as JSON"),
        ("[]", "is not a JSON object"),
        ('{"version": 1}', "is no scores.json"),
        ('{"version": 1, "cases": {"a": 3}}', "is no scores.json"),
        ('{"version": 99}', "is of version 99"),
        (TWO_CASES % "", "has no case"),
        (TWO_CASES % '"a": {"head": {"dice": 1}}, "b": {"head": {}}', "has other .* for b than for a"),
        (TWO_CASES % '"a": {"head": {"dice": 1}}, "b": {}', "has other structures or metrics for b"),
    ],
)
def test_what_is_no_scores_file_is_named(tmp_path: Path, content: str, finding: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=rf"a\.json: {finding}"):
        read_scores(tmp_path / "a.json")


def test_a_missing_scores_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json"):
        read_scores(tmp_path / "none.json")


def test_a_folder_in_the_place_of_scores_is_called_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder where a file is expected"):
        read_scores(tmp_path)


def test_scores_in_pixels_are_read_back(tmp_path: Path) -> None:
    a = np.zeros((8, 8), dtype=np.uint8)
    a[2:5, 2:5] = 1
    flat = replace(volume(a), spacing=(1.0, 1.0), physical=False)
    scores = Scores({"a": evaluate_case(flat, flat, CLASSES)}, CLASSES, 2.0)
    write_scores(tmp_path / "scores.json", scores)
    stored = json.loads((tmp_path / "scores.json").read_text())
    assert stored["tolerance_px"] == 2.0
    assert "mm" not in (tmp_path / "scores.json").read_text()
    assert read_scores(tmp_path / "scores.json") == scores
    assert scores.unit == "px"


def test_scores_of_two_units_are_refused() -> None:
    a = np.ones((8, 8), dtype=np.uint8)
    flat = replace(volume(a), spacing=(1.0, 1.0), physical=False)
    cases = {"a": evaluate_case(volume(a), volume(a), CLASSES), "b": evaluate_case(flat, flat, CLASSES)}
    with pytest.raises(InputError, match="b: has no physical spacing where a has one"):
        Scores(cases, CLASSES, 1.0)
