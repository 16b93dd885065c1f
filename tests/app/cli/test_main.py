"""The command line: whole ways through it, its exit codes, and its one-line complaints."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ldseg
from ldseg.app.cli import COMMANDS
from ldseg.app.cli.main import main

MakeModel = Callable[..., Path]
Output = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight grey pictures with a bright square each."""
    root = tmp_path / "data"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(8):
        rng = np.random.default_rng(number)
        mask = np.zeros((32, 32), np.uint8)
        top, left = rng.integers(4, 16, 2)
        mask[top : top + 12, left : left + 12] = 1
        grey = (120 * mask + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        Image.fromarray(grey).save(root / "images" / f"p{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"p{number}.png")
    return root


def run(*words: object) -> int:
    return main([str(word) for word in words])


def complaint(output: Output) -> str:
    """What is on stderr, which must end with one line of complaint."""
    lines = output.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("ldseg: error: ")
    assert "Traceback" not in "\n".join(lines)
    return lines[-1]


TRAIN = ("--steps", 3, "--training.validations", 1, "--device", "cpu")


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
    assert run("predict", data, "-m", model, "-o", out, "--part", "test", "--samples", 2) == 0
    assert len(list(out.glob("p*.png"))) == 2
    assert run("evaluate", out, data, "-o", scores, "--partial") == 0
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


def test_a_control_is_trained_and_predicts(data: Path, tmp_path: Path) -> None:
    model = tmp_path / "unet"
    assert run("train", data, "-o", model, "--baseline", "unet", "--fold", "all", *TRAIN) == 0
    assert run("predict", data / "images", "-m", model, "-o", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 8


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


def test_ctrl_c_elsewhere_is_130(monkeypatch: pytest.MonkeyPatch, data: Path, capsys: Output) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ldseg.data.checks.check", stop)
    assert run("check", data) == 130
    assert "interrupted" in capsys.readouterr().err


def test_the_default_budget_is_said(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    from ldseg.training.trainer import TrainingResult

    monkeypatch.setattr(
        "ldseg.training.trainer.train", lambda *_: TrainingResult(tmp_path / "run", 7, 0.5, False)
    )
    assert run("train", data, "-o", tmp_path / "run", "--training.calibrate", "false") == 0
    assert "budget: 60 minutes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (("paint",), "there is no command 'paint'; choose one of demo, check"),
        (("check",), "required: dataset"),
        (("check", "DATA", "--color"), "unrecognized arguments: --color"),
        (("check", "gone"), "gone: "),
        (("check", "DATA", "--axes", "xyz"), "axes is 'xyz'; expected 'yx' or 'zyx' or 'tyx'"),
        (("check", "DATA", "--subject-pattern", "("), "is not a regular expression"),
        (("plan", "DATA", "-o", "OUT", "--planning.patch", "31,32"), "patch is 31 along y"),
        (("plan", "DATA", "-o", "OUT", "--cpu-memory", "-1"), "cpu_memory_gb is -1.0"),
        (("train", "DATA", "-o", "OUT", "--preset", "best"), "preset is 'best'"),
        (
            ("train", "DATA", "-o", "OUT", "--steps", "1", "--epochs", "1"),
            "found steps, epochs; give exactly one",
        ),
        (
            ("train", "DATA", "-o", "OUT", "--steps", "many"),
            "training.steps is 'many'; expected a whole number",
        ),
        (("train", "DATA", "-o", "OUT", "--fold", "9"), "fold 9 does not exist"),
        (("train", "DATA", "-o", "OUT", "--resume"), "holds no training to resume"),
        (("train", "DATA", "-o", "OUT", "--test-fraction", "2"), "test_fraction is 2.0"),
        (("train", "DATA", "-o", "OUT", "--splits", "gone.json"), "gone.json: there is no such file"),
        (("train", "DATA", "-o", "OUT", "--steps", "1", "--device", "abacus"), "device 'abacus'"),
        (("train", "DATA", "-o", "OUT", "--config", "gone.yaml"), "gone.yaml"),
        (("predict", "DATA", "-m", "gone", "-o", "OUT"), "gone: there is no such folder"),
        (("predict", "gone.png", "-m", "MODEL", "-o", "OUT"), "gone.png: there is no such file or folder"),
        (
            ("predict", "DATA", "-m", "MODEL", "-o", "OUT", "--save", "all"),
            "save is 'all'; choose any of labels",
        ),
        (("predict", "DATA", "-m", "MODEL", "-o", "OUT", "--steps", "0"), "steps is 0; choose 1 or more"),
        (("predict", "DATA", "-m", "MODEL", "-o", "OUT", "--sampler", "x"), "sampler is 'x'; choose one of"),
        (
            ("predict", "DATA", "-m", "MODEL", "-o", "OUT", "--part", "test"),
            "splits.json: there is no such file",
        ),
        (("predict", "DATA", "-m", "MODEL", "-o", "OUT", "--samples", "few"), "samples"),
        (("evaluate", "gone", "DATA", "-o", "s.json"), "gone: there is no such folder"),
        (("compare", "gone.json", "gone.json"), "gone.json"),
        (("demo", "-o", "DATA"), "is not an empty folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_2(
    make_model: MakeModel, data: Path, tmp_path: Path, capsys: Output, words: tuple[str, ...], message: str
) -> None:
    places = {"DATA": data, "OUT": tmp_path / "out", "MODEL": make_model()}
    assert run(*(places.get(word, word) for word in words)) == 2
    assert message in complaint(capsys)
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_a_loop_of_links_is_no_folder(
    make_model: MakeModel, data: Path, tmp_path: Path, capsys: Output
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    for words in (
        ("predict", data, "-m", make_model(), "-o", loop),
        ("predict", loop, "-m", make_model(), "-o", tmp_path / "out"),
        ("predict", data, "-m", loop, "-o", tmp_path / "out"),
        ("train", data, "-o", loop, "--steps", 1),
        ("check", loop),
    ):
        assert run(*words) == 2
        assert "loop" in complaint(capsys)


def test_no_memory_and_a_refusing_system_are_one_line(
    monkeypatch: pytest.MonkeyPatch, data: Path, capsys: Output
) -> None:
    faults = {
        MemoryError("Unable to allocate 9 TiB"): "not enough memory",
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"): "not enough memory",
        PermissionError(13, "Permission denied", "a.png"): "a.png: Permission denied",
    }
    for fault, message in faults.items():

        def broken(*_: object, fault: Exception = fault) -> None:
            raise fault

        monkeypatch.setattr("ldseg.data.checks.check", broken)
        assert run("check", data) == 2
        assert message in complaint(capsys)


def test_names_cannot_write_lines_or_steer_the_terminal(data: Path, capsys: Output) -> None:
    for folder in ("images", "masks"):
        (data / folder / "p3.png").rename(data / folder / "p3\nldseg: error: \x1b[31mred.png")
    (data / "images" / "p3\nldseg: error: \x1b[31mred.png").write_bytes(b"nonsense")
    assert run("check", data) == 2
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert captured.err.count("\nldseg: error: ") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="names are Unicode there")
def test_names_that_are_not_in_utf_8_are_named(
    make_model: MakeModel, data: Path, tmp_path: Path, capsys: Output
) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    for folder in ("images", "masks"):
        (data / folder / "p3.png").rename(data / folder / name)
    for words in (
        ("check", data),
        ("predict", data, "-m", make_model(), "-o", tmp_path / "out"),
        ("predict", data / "images" / name, "-m", make_model(), "-o", tmp_path / "out"),
        ("train", data, "-o", tmp_path / "run", "--steps", 1),
    ):
        assert run(*words) == 2
        assert re.search("caf|codec can.t encode", complaint(capsys))


def test_a_reader_that_leaves_early_is_no_fault(data: Path) -> None:
    command = f"{sys.executable} -m ldseg.app.cli.main check {data} | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_bad_case_is_listed_and_the_others_go_on(
    make_model: MakeModel, data: Path, tmp_path: Path, capsys: Output
) -> None:
    (data / "images" / "p3.png").write_bytes(b"nonsense")
    words = ("predict", data / "images", "-m", make_model(), "-o", tmp_path / "out")
    assert run(*words) == 2
    assert "p3.png: " in complaint(capsys)
    assert run(*words, "--keep-going", "--json") == 3
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (len(found["done"]), list(found["failed"])) == (7, ["p3"])
    assert "1 of 8 images failed: p3" in captured.err


def test_faults_of_a_data_set_are_all_listed(data: Path, capsys: Output) -> None:
    (data / "images" / "p3.png").write_bytes(b"nonsense")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(data / "masks" / "p4.png")
    assert run("check", data) == 2
    captured = capsys.readouterr()
    assert captured.out.count("fault: ") == 2
    assert "2 faults" in captured.err


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ldseg.data.checks.check", broken)
    with pytest.raises(ZeroDivisionError):
        run("check", data)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example(name: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as left:
        run(name, "--help")
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert f"Example:\n  ldseg {name} " in text
    assert "<function" not in text


def test_help_is_quick_and_lists_the_commands() -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ldseg.app.cli.main", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert time.monotonic() - started < 5  # 0.1 s when nothing else runs
    assert all(name in done.stdout for name in COMMANDS)
    assert " torch" not in done.stderr
    assert " numpy" not in done.stderr


def test_version_and_nothing(capsys: Output) -> None:
    with pytest.raises(SystemExit):
        run("--version")
    assert ldseg.__version__ in capsys.readouterr().out
    assert main([]) == 2


def test_the_package_imports_nothing_heavy_and_offers_its_names() -> None:
    code = "import ldseg, sys; print([m for m in ('torch', 'numpy', 'monai') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    for name in ldseg.__all__:
        assert getattr(ldseg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ldseg.nothing
