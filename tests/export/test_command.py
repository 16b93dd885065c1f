"""ldseg export and predict --runtime onnx; the page in docs/ says the truth."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldseg.app.cli.main import main

MakeModel = Callable[..., Path]
Output = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A grey picture smaller than a patch."""
    grey = np.random.default_rng(0).integers(0, 255, (14, 15)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_from_a_run_to_labels_by_onnxruntime(
    make_model: MakeModel, tmp_path: Path, picture: Path, capsys: Output
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run, out = str(make_model(baseline="unet")), str(tmp_path / "onnx")
    assert main(["export", run, "--format", "onnx", "-o", out, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == out
    assert told["difference"] < 1e-3
    predict = ["predict", str(picture), "--save", "labels,probabilities", "-o"]
    assert main([*predict, str(tmp_path / "a"), "-m", out, "--runtime", "onnx", "--device", "cpu"]) == 0
    assert main([*predict, str(tmp_path / "b"), "-m", run, "--device", "cpu"]) == 0
    found, wanted = (np.asarray(Image.open(tmp_path / folder / "image.png")) for folder in "ab")
    np.testing.assert_array_equal(found, wanted)
    assert main([*predict, str(tmp_path / "c"), "-m", out]) == 2
    assert f"{out}: is an exported model; predict with --runtime onnx" in capsys.readouterr().err
    for words in (["view", str(picture), "-m", out], ["train", "DATA", "-o", "NEW", "--from", out]):
        assert main(words) == 2
        assert f"{out}: is an exported model; " in capsys.readouterr().err
    assert main(["export", run, "--format", "onnx", "-o", out]) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_command_that_an_export_prints_can_be_pasted(
    make_model: MakeModel, tmp_path: Path, capsys: Output
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "für Anna"
    onnx = ["--format", "onnx", "--samples", "4", "-o", str(out)]
    assert main(["export", str(make_model(baseline="ssn")), *onnx]) == 0
    said, told = capsys.readouterr()
    assert "translating it to ONNX, which takes " in told
    assert f"-m '{out}' --runtime onnx" in said
    assert "4 samples in one call" in said
    assert "steps of" not in said  # its samples are drawn at once
    bundle = tmp_path / "a bundle"
    assert main(["export", str(make_model()), "--format", "monai-bundle", "-o", str(bundle)]) == 0
    assert f"--bundle_root '{bundle}'" in capsys.readouterr().out


def test_a_bundle_by_command(make_model: MakeModel, tmp_path: Path, capsys: Output) -> None:
    run, out = str(make_model()), tmp_path / "bundle"
    assert main(["export", run, "--format", "monai-bundle", "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"format": "monai-bundle", "folder": str(out)}
    assert (out / "configs" / "inference.json").is_file()


@pytest.mark.parametrize(
    "words, message",
    [
        (["gone", "--format", "onnx", "-o", "out"], "gone: there is no such folder"),
        (["RUN", "--format", "onnx", "-o", "out", "--sampler", "plms"], "sampler is 'plms'"),
        (["RUN", "--format", "monai-bundle", "-o", "out", "--steps", "0"], "steps is 0"),
        (["RUN", "--format", "torchscript", "-o", "out"], "torchscript"),
        (["RUN", "--format", "onnx"], "missing: -o OUT"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    make_model: MakeModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    words: list[str],
    message: str,
) -> None:
    run = str(make_model())
    monkeypatch.chdir(tmp_path)
    assert main(["export", *(run if word == "RUN" else word for word in words)]) == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_run_is_no_export(make_model: MakeModel, picture: Path, capsys: Output) -> None:
    words = ["predict", str(picture), "-m", str(make_model()), "-o", "out", "--runtime", "onnx"]
    assert main(words) == 2
    assert "contract.json: there is no such file; make it with `ldseg export" in capsys.readouterr().err


@pytest.mark.parametrize("baseline", ["unet", "none"])
def test_the_documented_program_runs_without_ldseg(  # type: ignore[no-untyped-def]
    make_export, tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, baseline: str
) -> None:
    made = make_export("yx", baseline, steps=2, samples=2)
    (program,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert "ldseg" not in program.replace("first-onnx", "")
    (tmp_path / "first-onnx").symlink_to(made.onnx)
    monkeypatch.chdir(tmp_path)
    names: dict[str, np.ndarray] = {}
    exec(compile(program, "export.md", "exec"), names)
    assert names["labels"].shape == (14, 15)
    assert set(np.unique(names["labels"])) <= {0, 2, 5}
    if baseline == "unet":
        assert main(["predict", str(picture), "-m", str(made.model), "-o", "out"]) == 0
        wanted = np.asarray(Image.open(tmp_path / "out" / "image.png"))
        assert np.mean(names["labels"] != wanted) < 0.01


def test_the_benchmark_compares_the_runtimes(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = importlib.import_module("export")
    monkeypatch.setattr(importlib.import_module("records"), "RESULTS", tmp_path)
    run = str(make_model(baseline="unet"))
    benchmark.main([run, "--shape", "20,16", "--repeats", "1", "--name", "tiny"])
    result = json.loads((tmp_path / "tiny.json").read_text())
    values = {record["metric"]: record["value"] for record in result["records"]}
    assert sorted(values) == [
        "onnx_probability_difference",
        "onnxruntime_to_torch_fp32_ratio",
        "predict_cpu_s_onnxruntime",
        "predict_cpu_s_torch",
        "predict_cpu_s_torch_fp32",
    ]
    assert values["onnx_probability_difference"] < 1e-3
    assert all(values[name] > 0 for name in values if name.startswith("predict"))
    assert run not in result["command"]
