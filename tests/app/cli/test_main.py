"""The command line: its exit codes, its one-line complaints, its help."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import complaint, run
from PIL import Image

import ldseg
from ldseg.app.cli import COMMANDS
from ldseg.app.cli.main import main

MakeModel = Callable[..., Path]
Output = pytest.CaptureFixture[str]


def test_ctrl_c_elsewhere_is_130(monkeypatch: pytest.MonkeyPatch, data: Path, capsys: Output) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ldseg.data.checks.check", stop)
    assert run("check", data) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (("paint",), "there is no command 'paint'; choose one of demo, check"),
        (("check",), "missing: DATA; see ldseg check --help"),
        (("check", "DATA", "--color"), "unrecognized arguments: --color"),
        (("check", "gone"), "gone: "),
        (("check", "DATA", "--axes", "xyz"), "error: data.axes is 'xyz'; expected 'yx' or 'zyx' or 'tyx'"),
        (("check", "DATA", "--subject-pattern", "("), "is not a regular expression"),
        (("plan", "DATA", "-o", "OUT", "--planning.patch", "31,32"), "patch is 31 along y"),
        (
            ("plan", "DATA", "-o", "OUT", "--planning.batch", "0"),
            "error: planning.batch is 0; give a number",
        ),
        (("plan", "DATA", "-o", "OUT", "--cpu-memory", "-1"), "error: planning.cpu_memory_gb is -1.0"),
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
            "has no splits.json, so that nobody knows the parts",
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


def test_predicting_imports_no_library_that_a_png_does_not_need() -> None:
    heavy = ("scipy", "nibabel", "pydicom", "matplotlib", "monai", "sympy.core")
    modules = "ldseg.inference.predict_cases", "ldseg.inference.ensemble_files", "ldseg.zoo.catalogue"
    code = f"import sys; import {', '.join(modules)}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
