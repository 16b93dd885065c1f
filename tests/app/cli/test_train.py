"""Whole ways from a folder to scores, settings, and trainings that are ended or resumed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_helpers import TRAIN, complaint, run

from ldseg.app.cli.output import Progress
from ldseg.app.cli.train import ProgressReporter

MakeModel = Callable[..., Path]
Output = pytest.CaptureFixture[str]


def test_a_folder_goes_in_and_scores_come_out(data: Path, tmp_path: Path, capsys: Output) -> None:
    model, out, scores = tmp_path / "run", tmp_path / "out", tmp_path / "scores.json"
    assert run("check", data) == 0
    assert "8 cases are readable" in capsys.readouterr().out
    assert run("plan", data, "-o", model, "--test-fraction", 0.25, "--planning.patch", "32,32") == 0
    assert "32 x 32" in capsys.readouterr().out
    assert run("train", data, "-o", model, *TRAIN) == 0
    captured = capsys.readouterr()
    assert "budget: 3 steps; cases: " in captured.err
    assert f"ldseg predict IMAGE -m {model}" in captured.out
    assert f"ldseg report {model}" in captured.out
    assert run("predict", data, "-m", model, "-o", out, "--part", "test", "--samples", 2) == 0
    assert len(list(out.glob("p*.png"))) == 2
    capsys.readouterr()
    assert run("evaluate", out, data, "-o", scores) == 0
    assert "over 2 cases of the test part" in capsys.readouterr().out
    assert run("compare", scores, scores) == 0
    assert len(json.loads(scores.read_text())["cases"]) == 2


def test_json_is_all_that_is_on_stdout(data: Path, tmp_path: Path, capsys: Output) -> None:
    def answer(*words: object) -> dict[str, object]:
        assert run(*words, "--json") == 0
        return json.loads(capsys.readouterr().out)

    model, out = tmp_path / "run", tmp_path / "out"
    assert len(answer("check", data)["rows"]) == 8  # type: ignore[arg-type]
    assert answer("plan", data, "-o", model)["axes"] == "yx"
    assert answer("train", data, "-o", model, *TRAIN)["steps"] == 3
    done = answer("predict", data / "images" / "p0.png", "-m", model, "-o", out)["done"]
    assert done == {"p0": [str(out / "p0.png")]}
    assert "mean_dice" in answer("evaluate", out, data / "masks", "-o", tmp_path / "s.json", "--partial")


def test_settings_come_from_a_file_and_arguments_go_first(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "preset: paper\n"
        "training:\n  steps: 2\n  learning_rate: 2e-3\n  fold: 1\n"
        "model:\n  noise: {parameterization: v_prediction}\n"
    )
    words = ("--config", config, "--training.steps", 1, "--loss.dice", 0.5, "--device", "cpu")
    assert run("train", data, "-o", tmp_path / "run", *words) == 0
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["preset"] == "paper"
    assert settings["training"]["steps"] == 1
    assert settings["training"]["learning_rate"] == 2e-3
    assert settings["training"]["fold"] == 1
    assert settings["model"]["noise"]["parameterization"] == "v_prediction"
    assert settings["loss"]["dice"] == 0.5


def test_a_baseline_is_trained_and_predicts(data: Path, tmp_path: Path) -> None:
    model = tmp_path / "unet"
    assert run("train", data, "-o", model, "--baseline", "unet", "--fold", "all", *TRAIN) == 0
    assert run("predict", data / "images", "-m", model, "-o", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 8


@pytest.mark.parametrize(
    "baseline, told", [("unet", {"latent", "decode"}), ("pixel_diffusion", {"decode"}), (None, set[str]())]
)
def test_settings_that_a_baseline_does_not_read_are_told(
    data: Path, tmp_path: Path, capsys: Output, baseline: str | None, told: set[str]
) -> None:
    asked = () if baseline is None else ("--baseline", baseline)
    options = ("--fold", "all", "--loss.latent", "2", "--loss.decode", "clean", "--loss.dice", "2")
    assert run("train", data, "-o", tmp_path / "run", *asked, *options, *TRAIN) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "changes nothing" in line]
    assert said == [f"--loss.{name} changes nothing with --baseline {baseline}" for name in sorted(told)]


@pytest.mark.parametrize("baseline", ["ssn", "probabilistic_unet"])
def test_a_baseline_with_samples_is_trained_and_predicts_them(
    data: Path, tmp_path: Path, baseline: str
) -> None:
    model, out = tmp_path / "run", tmp_path / "out"
    assert run("train", data, "-o", model, "--baseline", baseline, "--fold", "all", *TRAIN) == 0
    assert json.loads((model / "settings.json").read_text())["baseline"] == baseline
    asked = ("--samples", "3", "--save", "samples")
    assert run("predict", data / "images", "-m", model, "-o", out, *asked) == 0
    written = sorted(path.name for path in out.rglob("*.png"))
    assert len(written) == 8 * 3


def test_a_finished_training_resumes_to_itself(data: Path, tmp_path: Path, capsys: Output) -> None:
    model = tmp_path / "run"
    assert run("train", data, "-o", model, *TRAIN) == 0
    weights = (model / "model.safetensors").read_bytes()
    assert run("train", data, "-o", model, *TRAIN) == 2
    assert "holds a training already; end it with --resume" in complaint(capsys)
    dice = json.loads((model / "log.jsonl").read_text().splitlines()[-1])["dice"]
    log = (model / "log.jsonl").read_bytes()
    for deleted in ("cache", "state"):  # both may be deleted when training has ended
        assert run("train", data, "-o", model, "--resume", "--device", "cpu") == 0
        said = capsys.readouterr().out
        assert f"has ended already, nothing was done: 3 steps, validation Dice {dice:.3f}" in said
        assert "to train longer, say how much: --continue --minutes 60" in said
        shutil.rmtree(model / deleted, ignore_errors=True)
    assert (model / "model.safetensors").read_bytes() == weights
    assert (model / "log.jsonl").read_bytes() == log


def test_no_validation_is_no_dice(data: Path, tmp_path: Path, capsys: Output) -> None:
    words = ("train", data, "-o", tmp_path / "run", "--steps", 1, "--training.validations", 0, "--json")
    assert run(*words, "--training.calibrate", "false", "--device", "cpu") == 0
    assert json.loads(capsys.readouterr().out)["dice"] is None
    assert run("train", data, "-o", tmp_path / "run", "--resume", "--device", "cpu") == 0
    assert "1 steps, no validation" in capsys.readouterr().out


def test_a_resumed_training_says_which_cases_changed_came_or_went(
    data: Path, tmp_path: Path, capsys: Output
) -> None:
    model = tmp_path / "run"
    assert run("train", data, "-o", model, *TRAIN) == 0
    shutil.rmtree(model / "state")
    (model / "model.safetensors").unlink()  # as if it had been killed before its first checkpoint
    for name in ("images", "masks"):
        shutil.copy(data / name / "p0.png", data / name / "new.png")
    assert run("train", data, "-o", model, "--resume", "--device", "cpu") == 0
    said = capsys.readouterr().err
    assert f"1 cases are not in {model / 'splits.json'} and are not used: new; --continue uses" in said
    assert "the training begins again with its first step" in said
    shutil.rmtree(model / "state")
    (model / "model.safetensors").unlink()
    for name in ("images", "masks"):
        os.utime(data / name / "p1.png", (1, 1))
    assert run("train", data, "-o", model, "--resume", "--device", "cpu") == 2
    assert "1 cases have changed since the training began (p1); restore" in complaint(capsys)
    for name in ("images", "masks"):
        (data / name / "p2.png").unlink()
    assert run("train", data, "-o", model, "--resume", "--device", "cpu") == 2
    said = complaint(capsys)
    assert "p2: no such case in" in said
    assert "go on without it with --continue" in said


def test_an_interrupted_training_says_how_to_go_on(
    data: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ldseg.training.trainer import TrainingResult

    def stopped(*_: object) -> TrainingResult:
        return TrainingResult(tmp_path / "run", 7, None, True)

    monkeypatch.setattr("ldseg.training.trainer.train", stopped)
    assert run("train", data, "-o", tmp_path / "run", "--steps", 9) == 130
    assert f"go on: ldseg train {data} -o {tmp_path / 'run'} --resume" in capsys.readouterr().err


def test_the_default_budget_is_said(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    from ldseg.training.trainer import TrainingResult

    monkeypatch.setattr(
        "ldseg.training.trainer.train", lambda *_: TrainingResult(tmp_path / "run", 7, 0.5, False)
    )
    assert run("train", data, "-o", tmp_path / "run", "--training.calibrate", "false") == 0
    assert "budget: 60 minutes" in capsys.readouterr().err


def test_the_papers_preset_takes_the_default_augmentation_on_request(data: Path, tmp_path: Path) -> None:
    asked = ("--preset", "paper", "--augmentation", "default", "--augment.rotation", 5, *TRAIN)
    assert run("train", data, "-o", tmp_path / "run", *asked) == 0
    augment = json.loads((tmp_path / "run" / "settings.json").read_text())["augment"]
    assert (augment["affine_probability"], augment["mirror_axes"], augment["rotation"]) == (0.7, None, 5)
    assert run("train", data, "-o", tmp_path / "other", "--augmentation", "best") == 2


def test_the_time_of_the_folds_that_follow_is_announced(capsys: Output) -> None:
    report = ProgressReporter(Progress("training"))
    settings = {"event": "settings", "run": "r", "budget": "3 steps", "train": 4, "validation": 2, "test": 2}
    seconds = {f"{part}_seconds": 10.0 for part in ("training", "validation", "calibration")}
    pace = {"event": "pace", "seconds_per_step": 0.5, "seconds": 30.0, **seconds}
    for fold, folds, ending in ((None, None, "in 30 s"), (3, 5, "in 60 s"), (4, 5, "in 30 s")):
        report({**settings, "fold": fold, "folds": folds})
        report(pace)
        assert capsys.readouterr().err.rstrip().endswith(ending)


@pytest.mark.parametrize(
    "gain, sentence",
    [
        (
            0.0123,
            "the last three validations are on average 0.012 above the three before: longer training may",
        ),
        (0.0, "validation has not settled yet: longer training may gain more"),
        (-0.01, "validation has not settled yet: longer training may gain more"),
    ],
)
def test_no_gain_is_shown_as_the_reason_to_train_longer(capsys: Output, gain: float, sentence: str) -> None:
    ProgressReporter(Progress("training"))({"event": "gain", "gain": gain, "flat": False})
    assert sentence in capsys.readouterr().err


def test_each_fold_and_its_calibration_have_lines_of_their_own(capsys: Output) -> None:
    bar = Progress("training")
    for step in range(1, 41):
        bar.show(step / 40, "fold 0")
    for step in range(1, 41):
        bar.show(step / 40, "fold 1")
    lines = capsys.readouterr().err.splitlines()
    assert [sum(name in line for line in lines) for name in ("fold 0", "fold 1")] == [20, 4]
    assert lines[-1] == "training: 100%  fold 1"


def test_training_on_the_validation_cases_is_said(data: Path, tmp_path: Path, capsys: Output) -> None:
    words = ("--fold", "all", "--steps", 1, "--training.calibrate", "false", "--device", "cpu")
    assert run("train", data, "-o", tmp_path / "run", *words) == 0
    assert "validation cases are trained on as well" in capsys.readouterr().err
    assert run("report", tmp_path / "run", "--samples", 1, "--device", "cpu") == 0
    assert "cases that the model was trained on in part; open it" in capsys.readouterr().out


def test_images_that_may_be_of_one_subject_are_named_before_they_are_split(
    data: Path, tmp_path: Path, capsys: Output
) -> None:
    for folder in ("images", "masks"):
        for number, path in enumerate(sorted((data / folder).iterdir())):
            path.rename(path.with_name(f"{10 + number // 2}_{number % 2}{path.suffix}"))
    assert run("plan", data, "-o", tmp_path / "plan") == 0
    words = ("--steps", 1, "--training.calibrate", "false", "--device", "cpu")
    assert run("train", data, "-o", tmp_path / "run", *words) == 0
    hints = [line for line in capsys.readouterr().err.splitlines() if "--subject-pattern" in line]
    assert [line.startswith("warning: ") for line in hints] == [False, True]


def test_warnings_of_a_beginner_are_not_told(capsys: Output) -> None:
    report = ProgressReporter(Progress("training"))
    validation = {"event": "validation", "step": 1, "dice": 0.1, "warnings": ["the image is hardly used"]}
    for progress, told in ((0.1, False), (0.5, True)):
        report({**validation, "progress": progress})
        assert ("hardly used" in capsys.readouterr().err) == told
