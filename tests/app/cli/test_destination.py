"""`-o`: the file that is named is written, and no folder gets the name of a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ldseg.app.cli.main import main

MakeModel = Callable[..., Path]
Output = pytest.CaptureFixture[str]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "scan.nii.gz"
    path.parent.mkdir()
    array = np.random.default_rng(0).normal(100, 20, (18, 15, 7)).astype(np.float32)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)  # type: ignore[attr-defined]
    return path


def run(*words: object) -> int:
    return main([*map(str, words)])


def complaint(output: Output) -> str:
    (line,) = output.readouterr().err.strip().splitlines()
    assert line.startswith("ldseg: error: ")
    return line


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_one_image_is_segmented_into_the_file_that_is_named(
    scan: Path, make_model: MakeModel, tmp_path: Path
) -> None:
    model, file = make_model("zyx"), tmp_path / "new" / "result.nii.gz"
    assert run("predict", scan, "-m", model, "-o", file, "--device", "cpu") == 0
    assert names(file.parent) == {"result.nii.gz", "prediction.json"}
    assert run("predict", scan, "-m", model, "-o", tmp_path / "folder", "--device", "cpu") == 0
    assert file.read_bytes() == (tmp_path / "folder" / "scan.nii.gz").read_bytes()
    (record,) = json.loads((file.parent / "prediction.json").read_text())["cases"].items()
    assert (record[0], record[1]["case"], record[1]["files"]) == ("result", "scan", ["result.nii.gz"])


def test_further_maps_lie_beside_the_file_in_its_format(
    scan: Path, make_model: MakeModel, tmp_path: Path
) -> None:
    file = tmp_path / "new" / "result.nrrd"
    words = ("--samples", 2, "--save", "labels,uncertainty", "--device", "cpu")
    assert run("predict", scan, "-m", make_model("zyx"), "-o", file, *words) == 0
    beside = {"result_uncertainty.nrrd", "result_disagreement.nrrd", "result_summary.json"}
    assert names(file.parent) == {"result.nrrd", "prediction.json", *beside}


def test_sizes_of_one_image_are_said_with_their_intervals(
    scan: Path, make_model: MakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("predict", scan, "-m", make_model("zyx"), "-o", out, "--device", "cpu")
    assert run(*words) == 0
    assert "interval" not in capsys.readouterr().out
    assert run(*words, "--samples", 4) == 0
    said = capsys.readouterr().out
    summary = json.loads((out / "scan_summary.json").read_text())
    low, high = (f"{summary['volumes']['left'][end]:,.0f}" for end in ("low", "high"))
    assert f"{low} to {high}" in said
    assert f"Dice to expect: {summary['confidence']:.2f}" in said


def test_results_of_two_images_of_one_name_lie_beside_each_other(
    scan: Path, make_model: MakeModel, tmp_path: Path
) -> None:
    model = make_model("zyx")
    for name in ("one", "two"):
        out = tmp_path / "new" / f"{name}.nii.gz"
        assert run("predict", scan, "-m", model, "-o", out, "--device", "cpu") == 0
    assert set(json.loads((tmp_path / "new" / "prediction.json").read_text())["cases"]) == {"one", "two"}


def test_a_folder_of_that_name_stays_a_folder(scan: Path, make_model: MakeModel, tmp_path: Path) -> None:
    out = tmp_path / "old.nii.gz"
    out.mkdir()
    assert run("predict", scan, "-m", make_model("zyx"), "-o", out, "--device", "cpu") == 0
    assert (out / "scan.nii.gz").is_file()


@pytest.mark.parametrize(
    "name, words, finding",
    [
        ("r.jpg", (), "ends as a file of another kind"),
        ("r.json", (), "ends as a file of another kind"),
        ("r.gif", (), "ends as a file of another kind"),
        ("r.nii.gz", ("--save", "uncertainty"), "--save leaves the labels out"),
        ("r.nii.gz", ("--format", ".mha"), "has another ending than --format .mha"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    scan: Path,
    make_model: MakeModel,
    tmp_path: Path,
    capsys: Output,
    name: str,
    words: tuple[str, ...],
    finding: str,
) -> None:
    out = tmp_path / "new" / name
    assert run("predict", scan, "-m", make_model("zyx"), "-o", out, "--device", "cpu", *words) == 2
    assert finding in complaint(capsys)
    assert not out.parent.exists()


def test_several_images_do_not_go_into_one_file(
    scan: Path, make_model: MakeModel, tmp_path: Path, capsys: Output
) -> None:
    (scan.parent / "other.nii.gz").write_bytes(scan.read_bytes())
    out = tmp_path / "new" / "r.nii.gz"
    assert run("predict", scan.parent, "-m", make_model("zyx"), "-o", out, "--device", "cpu") == 2
    assert "there are 2 images; give a folder with -o" in complaint(capsys)
    assert not out.parent.exists()


def test_the_file_is_not_the_image_and_not_in_the_folder_of_a_training(
    scan: Path, make_model: MakeModel, capsys: Output
) -> None:
    model = make_model("zyx")
    assert run("predict", scan, "-m", model, "-o", scan, "--device", "cpu") == 2
    assert "the result would replace the image" in complaint(capsys)
    assert run("predict", scan, "-m", model, "-o", model / "r.nii.gz", "--device", "cpu") == 2
    assert "is the folder of a training" in complaint(capsys)


@pytest.mark.parametrize(
    "words",
    [
        ("train", "DATA", "-o", "run.pt"),
        ("plan", "DATA", "-o", "plan.json"),
        ("demo", "-o", "demo.zip"),
        ("robustness", "DATA", "-m", "MODEL", "-o", "robustness.json"),
        ("export", "MODEL", "--format", "onnx", "-o", "model.onnx"),
        ("export", "MODEL", "--format", "monai-bundle", "-o", "bundle.zip"),
    ],
)
def test_no_folder_gets_the_name_of_a_file(
    make_model: MakeModel,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_model().rename("MODEL")
    Path("DATA").mkdir()
    assert run(*words) == 2
    assert f"{words[-1]}: ends as a file of another kind" in complaint(capsys)
    assert names(tmp_path) == {"MODEL", "DATA"}


@pytest.mark.parametrize("name", ["taken", "taken/below", "taken/below/it"])
@pytest.mark.parametrize(
    "words",
    [
        ("predict", "DATA", "-m", "MODEL", "-o"),
        ("train", "DATA", "-o"),
        ("plan", "DATA", "-o"),
        ("demo", "-o"),
        ("robustness", "DATA", "-m", "MODEL", "-o"),
        ("export", "MODEL", "--format", "onnx", "-o"),
        ("calibrate", "MODEL", "--data", "DATA", "-o"),
    ],
)
def test_a_file_in_the_place_of_the_folder_is_found_before_anything_is_computed(
    make_model: MakeModel,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_model().rename("MODEL")
    Path("taken").write_text("kept")
    Path("DATA").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("DATA/p.png")
    assert run(*words, name) == 2
    assert "taken: is a file, where a folder is needed; choose another folder" in complaint(capsys)
    assert Path("taken").read_text() == "kept"


def test_a_folder_that_nothing_may_be_written_into_is_found_before_anything_is_computed(
    make_model: MakeModel, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path / "closed")  # as for no root
    (tmp_path / "closed").mkdir()
    none, closed = tmp_path / "none", tmp_path / "closed"
    for words in (
        ("robustness", none, "-m", make_model(), "-o", closed / "out"),
        ("evaluate", none, none, "-o", closed / "scores.json"),
        ("report", make_model(), "-o", closed / "page.html"),
        ("report", make_model(), "-o", tmp_path / "page.html", "--figures", closed / "figures"),
    ):
        assert run(*words) == 2
        assert "closed: nothing may be written there; check its rights" in complaint(capsys)


@pytest.mark.parametrize("name", ["scores.csv", "scores", "folder.json"])
def test_scores_go_into_a_json_file_and_nothing_is_measured_before_that_is_known(
    tmp_path: Path, capsys: Output, name: str
) -> None:
    (tmp_path / "folder.json").mkdir()
    assert run("evaluate", tmp_path / "none", tmp_path / "none", "-o", tmp_path / name) == 2
    line = complaint(capsys)
    assert "give a name that ends with .json" in line or "is a folder; give a file" in line


def test_pictures_keep_their_own_file_mode(make_model: MakeModel, tmp_path: Path) -> None:
    picture = tmp_path / "p.jpg"
    Image.fromarray(np.arange(480, dtype=np.uint8).reshape(20, 24)).save(picture)
    out = tmp_path / "new" / "labels.png"
    words = ("--samples", 2, "--save", "labels,probabilities", "--device", "cpu")
    assert run("predict", picture, "-m", make_model(), "-o", out, *words) == 0
    maps = {"labels_probabilities.tif", "labels_summary.json"}
    assert names(out.parent) == {"labels.png", "prediction.json", *maps}
