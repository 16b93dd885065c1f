"""`ldseg calibrate` after training, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_helpers import TRAIN, complaint, run

MakeModel = Callable[..., Path]
Output = pytest.CaptureFixture[str]


def test_a_run_is_calibrated_on_its_validation_cases_and_again_with_other_weights(
    data: Path, tmp_path: Path, capsys: Output
) -> None:
    model = tmp_path / "run"
    assert run("train", data, "-o", model, "--training.calibrate", "false", *TRAIN) == 0
    words = ("calibrate", model, "--samples", 2, "--device", "cpu")
    assert run(*words) == 0
    first = json.loads((model / "calibration.json").read_text())
    assert "temperature" in capsys.readouterr().out
    other = tmp_path / "other"
    assert run("train", data, "-o", other, "--training.seed", 1, *TRAIN) == 0
    (other / "model.safetensors").rename(model / "model.safetensors")
    assert run("predict", data / "images", "-m", model, "-o", tmp_path / "out") == 2
    assert "run `ldseg calibrate` again" in complaint(capsys)
    assert run(*words, "--json") == 0
    second = json.loads((model / "calibration.json").read_text())
    assert json.loads(capsys.readouterr().out)["fitted"] == second["recalibration"] != first["recalibration"]
    validation = json.loads((model / "splits.json").read_text())["folds"][0]["validation"]
    assert second["recalibration"]["cases"] == len(validation)


def test_calibrating_on_no_sample_is_refused(data: Path, tmp_path: Path, capsys: Output) -> None:
    model = tmp_path / "run"
    assert run("train", data, "-o", model, "--training.calibrate", "false", *TRAIN) == 0
    assert run("calibrate", model, "--samples", 0, "--device", "cpu") == 2
    assert "samples is 0; choose 1 or more" in complaint(capsys)
    assert not (model / "calibration.json").exists()


def test_a_run_without_validation_cases_cannot_be_calibrated(
    data: Path, tmp_path: Path, capsys: Output
) -> None:
    model = tmp_path / "run"
    assert run("train", data, "-o", model, "--fold", "all", *TRAIN) == 0
    assert run("calibrate", model, "--device", "cpu") == 2
    assert "none is left to calibrate on; train with --fold 0" in complaint(capsys)
    assert not (model / "calibration.json").exists()
